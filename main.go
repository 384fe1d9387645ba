// Command gracchus runs a Gracchus message broker.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gracchus-mq/gracchus/broker"
	"github.com/gracchus-mq/gracchus/config"
)

func main() {
	if err := command().Execute(); err != nil {
		// Errors that were joined have a line each; a person gets one.
		fmt.Fprintln(os.Stderr, "gracchus:", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "gracchus",
		Short: "A message broker that speaks Kafka's protocol and keeps its state in ZooKeeper",
		// main prints errors, in one line; help is for those who ask for it.
		SilenceErrors: true, SilenceUsage: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(startCommand(), versionCommand())
	return root
}

func startCommand() *cobra.Command {
	var overrides []string
	var logLevel slog.Level
	start := &cobra.Command{
		Use:                   "start [server.properties] [--override name=value]...",
		DisableFlagsInUseLine: true,
		Short:                 "Run a broker until SIGTERM or SIGINT",
		Long: `Runs a broker with the settings of a server.properties file, which are Kafka's.

Without a file it listens on 127.0.0.1:9092 only, keeps its data in ./gracchus-data
and runs a ZooKeeper of its own inside. With a file, zookeeper.connect says where
ZooKeeper is; zookeeper.connect=embedded runs it inside too.

SIGTERM and SIGINT stop the broker cleanly; a second one stops it at once.`,
		Example: `  gracchus start
  gracchus start --override listeners=PLAINTEXT://:9092 --override log.dirs=/var/lib/gracchus
  gracchus start server.properties --override broker.id=2`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var file string
			if len(args) == 1 {
				file = args[0]
			}
			settings, report, err := config.Load(file, overrides)
			if err != nil {
				return err
			}
			logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: logLevel}))
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			// After the first signal the next one ends the process, as if nobody listened.
			context.AfterFunc(ctx, stop)
			return broker.Run(ctx, settings, report, logger)
		},
	}
	start.Flags().StringArrayVar(&overrides, "override", nil, "a property that wins over the file, as `name=value`; may be repeated")
	start.Flags().TextVar(&logLevel, "log-level", slog.LevelInfo, "the least `level` that is logged: debug, info, warn or error")
	return start
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and what it was built from",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			version, revision := "unknown", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
				revision = " (" + info.GoVersion + ")"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "gracchus %s%s, compatible with Kafka 3.9\n", version, revision)
		},
	}
}
