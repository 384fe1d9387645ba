package broker

import (
	"context"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/txn"
)

// buildTransactions makes the coordinator of transactions, which hears from now on of the
// partitions of __transaction_state that this broker comes to lead.
func (p *parts) buildTransactions() (err error) {
	p.txns, err = txn.New(txn.Config{
		Settings:       txn.SettingsOf(p.cfg, p.env.transactionMemory()),
		PartitionsOf:   p.partitionsOf,
		NextProducerID: p.producerIDs.Next,
		Logger:         p.logger,
	}, p.replicas.TopicLog(protocol.TransactionStateTopic), p.view, p.peers)
	if err != nil {
		return err
	}
	p.replicas.Subscribe(p.txns.RoleChanged)
	return nil
}

func (p *parts) startTransactions(ctx context.Context) error { return p.txns.Start(ctx) }

// stopTransactions comes when the server has drained. Markers that are not written yet
// are the business of whoever leads next.
func (p *parts) stopTransactions(ctx context.Context) error { return p.txns.Stop(ctx) }
