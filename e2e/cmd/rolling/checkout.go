package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"gozon/e2e/stack"
)

// checkout checks out a git revision into a temporary folder, together with the .env file of
// this one: both revisions must use the same base images. remove deletes the
// folder.
func checkout(ctx context.Context, revision string) (dir string, remove func() error, err error) {
	tmp, err := os.MkdirTemp("", "gozon-rolling-")
	if err != nil {
		return "", nil, fmt.Errorf("checkout: %w", err)
	}
	dir = filepath.Join(tmp, "shop")
	if err := git(ctx, "worktree", "add", "--detach", dir, revision); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(tmp))
	}
	remove = func() error {
		return errors.Join(git(context.WithoutCancel(ctx), "worktree", "remove", "--force", dir), os.RemoveAll(tmp))
	}
	env, err := os.ReadFile(filepath.Join(stack.Root(), ".env"))
	if errors.Is(err, fs.ErrNotExist) {
		return dir, remove, nil
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, ".env"), env, 0o600) //nolint:gosec // a new temporary folder
	}
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("checkout: %w", err), remove())
	}
	return dir, remove, nil
}

func git(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = stack.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	return nil
}
