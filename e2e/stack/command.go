package stack

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

// Main parses the flags of a command, among them -v, and calls run, whose context is done when
// the command is interrupted. log receives the output of compose if -v is set. If run fails,
// Main prints the error and ends the process with the exit code 1.
func Main(name string, run func(ctx context.Context, log io.Writer) error) {
	verbose := flag.Bool("v", false, "show the output of compose")
	flag.Parse()
	log := io.Discard
	if *verbose {
		log = os.Stderr
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, log)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}
