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

	// Stdin and Stdout are those of the commands with arguments. If nil, those of the process
	// are used.
	Stdin  io.Reader
	Stdout io.Writer
}

// Command is a subcommand of a [Program]. It has either Run or RunArgs.
type Command struct {
	Name, Usage string
	Run         func(ctx context.Context, log *slog.Logger) error
	// RunArgs runs a command that takes arguments. An error that wraps [ErrUsage] means that
	// they are invalid.
	RunArgs func(ctx context.Context, log *slog.Logger, c Call) error
}

// Call is what a command with arguments works on.
type Call struct {
	Args           []string // after the name of the command
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// ErrUsage marks an error of a command that was called with invalid arguments. It is printed
// to standard error, and the exit code is 2.
var ErrUsage = errors.New("invalid arguments")

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
	call := Call{Stdin: p.Stdin, Stdout: p.Stdout, Stderr: stderr}
	commands := append([]Command{{Name: "healthcheck", Usage: "check whether the running service is ready", Run: func(ctx context.Context, _ *slog.Logger) error {
		return Healthcheck(ctx, p.Frame.HTTPAddr, call.Stdout)
	}}}, p.Commands...)
	command := Command{Run: p.Serve}
	if call.Stdin == nil {
		call.Stdin = os.Stdin
	}
	if call.Stdout == nil {
		call.Stdout = os.Stdout
	}
	switch {
	case len(args) == 1 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help"):
		usage(stderr, p.Name, p.Config, commands)
		return 0
	case len(args) > 0:
		i := 0
		for i < len(commands) && commands[i].Name != args[0] {
			i++
		}
		if i == len(commands) || len(args) > 1 && commands[i].RunArgs == nil {
			fmt.Fprintf(stderr, "%s: unknown command %q\n\n", p.Name, args)
			usage(stderr, p.Name, p.Config, commands)
			return 2
		}
		command, call.Args = commands[i], args[1:]
	}
	if err := Load(environ, p.Config); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n\n", p.Name, err)
		usage(stderr, p.Name, p.Config, commands)
		return 2
	}
	log := NewLogger(stderr, p.Frame.LogLevel, p.Name)
	if command.RunArgs != nil {
		command.Run = func(ctx context.Context, log *slog.Logger) error { return command.RunArgs(ctx, log, call) }
	}
	err := command.Run(ctx, log)
	switch {
	case errors.Is(err, ErrUsage):
		fmt.Fprintf(stderr, "%s %s: %v\n", p.Name, command.Name, err)
		return 2
	case err != nil && (command.RunArgs != nil || !errors.Is(err, context.Canceled)): // a service that was stopped has not failed
		log.ErrorContext(ctx, "command failed", "command", command.Name, "error", err)
		return 1
	}
	return 0
}
