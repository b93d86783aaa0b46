package stack

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Session is an open psql session of the database administrator. A query takes about a
// millisecond, because it does not start a process. It is not safe for concurrent use.
type Session struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Session opens a session. The caller must close it.
func (s *Stack) Session(ctx context.Context) (*Session, error) {
	db, err := s.Containers(ctx, s.Database)
	if err != nil {
		return nil, err
	}
	if len(db) == 0 {
		return nil, fmt.Errorf("%s is not running", s.Database)
	}
	cmd := exec.CommandContext(ctx, "docker", "exec", "-i", db[0].ID, "psql", "-U", "gozon", "-d", "gozon", "-AtXq", "-v", "ON_ERROR_STOP=1") //nolint:gosec // constants and a container id
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("psql: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("psql: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("psql: %w", err)
	}
	return &Session{cmd, in, bufio.NewReader(out)}, nil
}

// Value runs a query that returns one row, and returns that row.
func (s *Session) Value(query string) (string, error) {
	if _, err := io.WriteString(s.in, query+";\n"); err != nil {
		return "", fmt.Errorf("psql: %w", err)
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("psql: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// Close ends the session.
func (s *Session) Close() error {
	if err := s.in.Close(); err != nil {
		return fmt.Errorf("psql: %w", err)
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("psql: %w", err)
	}
	return nil
}
