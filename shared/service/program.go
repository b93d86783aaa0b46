package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Program is the command line of a service.
type Program struct {
	Name string
	// Config is a pointer to the configuration, which is read from the environment.
	Config any
	// Frame points to the part of Config that this package uses.
	Frame *Config
	// Serve runs the service. It is called if no command is given.
	Serve func(ctx context.Context, log *slog.Logger) error
	// Commands are the subcommands besides help and healthcheck.
	Commands []Command
}

// Command is a subcommand of a [Program].
type Command struct {
	Name, Usage string
	Run         func(ctx context.Context, log *slog.Logger) error
}

// Main runs p with the arguments and the environment of the process and exits with its code.
// SIGINT and SIGTERM cancel the context of the command.
func Main(p Program) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := p.Run(ctx, os.Args[1:], Environ(), os.Stderr)
	stop()
	os.Exit(code)
}

// Run runs one command and returns the exit code: 0 for success, 1 for a failure, 2 for
// invalid arguments or configuration.
func (p Program) Run(ctx context.Context, args []string, environ map[string]string, stderr io.Writer) int {
	commands := append([]Command{{"healthcheck", "check whether the running service is ready", func(ctx context.Context, _ *slog.Logger) error {
		return Healthcheck(ctx, p.Frame.HTTPAddr)
	}}}, p.Commands...)
	command := Command{Run: p.Serve}
	switch {
	case len(args) == 1 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help"):
		usage(stderr, p.Name, p.Config, commands)
		return 0
	case len(args) > 0:
		i := 0
		for i < len(commands) && commands[i].Name != args[0] {
			i++
		}
		if i == len(commands) || len(args) > 1 {
			fmt.Fprintf(stderr, "%s: unknown command %q\n\n", p.Name, args)
			usage(stderr, p.Name, p.Config, commands)
			return 2
		}
		command = commands[i]
	}
	if err := Load(environ, p.Config); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n\n", p.Name, err)
		usage(stderr, p.Name, p.Config, commands)
		return 2
	}
	log := NewLogger(stderr, p.Frame.LogLevel, p.Name)
	if err := command.Run(ctx, log); err != nil && !errors.Is(err, context.Canceled) {
		log.ErrorContext(ctx, "command failed", "command", command.Name, "error", err)
		return 1
	}
	return 0
}
