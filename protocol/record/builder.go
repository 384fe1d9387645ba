package record

// Builder collects records and makes a batch of them. The zero value is not
// usable; a Builder may be used again after Reset, and is not safe for
// concurrent use.
type Builder struct{ todo int }

// NewBuilder returns a Builder of an uncompressed CreateTime batch at offset 0
// without leader epoch and producer.
func NewBuilder() *Builder { panic("not yet") }

func (b *Builder) SetBaseOffset(offset int64) *Builder { panic("not yet") }
func (b *Builder) SetLeaderEpoch(epoch int32) *Builder { panic("not yet") }

// SetCodec sets the codec and its level (DefaultLevel for the codec's own).
func (b *Builder) SetCodec(c Codec, level int) *Builder { panic("not yet") }

// SetProducer sets producer id, epoch, and the sequence number of the first
// record.
func (b *Builder) SetProducer(id int64, epoch int16, sequence int32) *Builder { panic("not yet") }
func (b *Builder) SetTransactional() *Builder                                 { panic("not yet") }
func (b *Builder) SetControl() *Builder                                       { panic("not yet") }

// SetLogAppendTime gives the whole batch one timestamp, set by the broker.
func (b *Builder) SetLogAppendTime(ms int64) *Builder { panic("not yet") }

// Append adds a record at the next offset. Key and value are copied; nil means
// absent.
func (b *Builder) Append(timestampMS int64, key, value []byte, headers ...Header) { panic("not yet") }

// Count is the number of records so far, Size the size that the batch would have
// without compression.
func (b *Builder) Count() int { panic("not yet") }
func (b *Builder) Size() int  { panic("not yet") }

// Build returns the batch; it does not alias the Builder.
func (b *Builder) Build() (Batch, error) { panic("not yet") }

// Reset forgets the records and keeps the settings.
func (b *Builder) Reset() { panic("not yet") }
