package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// composeCommand returns the compose command of this machine. The environment variable
// COMPOSE overrides it.
func composeCommand(ctx context.Context) []string {
	switch command := strings.Fields(os.Getenv("COMPOSE")); {
	case len(command) > 0:
		return command
	case exec.CommandContext(ctx, "docker", "compose", "version").Run() != nil:
		return []string{"docker-compose"}
	}
	return []string{"docker", "compose"}
}

// Shell runs a bash script in the folder of the compose file, until a command fails. It may
// call "docker compose", whatever the compose command of this machine is. env contains
// additional variables, as KEY=value.
func (s *Stack) Shell(ctx context.Context, script string, env ...string) error {
	compose := `docker() { if [ "$1" = compose ]; then shift; command ` + strings.Join(composeCommand(ctx), " ") + ` "$@"; else command docker "$@"; fi; }`
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", compose+"\n"+script) //nolint:gosec // commands of the documentation
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.Dir, slices.Concat(s.env, env), s.Log, s.Log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", script, err)
	}
	return nil
}
