package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"platter/cmd/platter/internal/manual"
)

// genManAction writes the manual pages into a directory, for make man.
func genManAction(e *env, c *cli.Context) error {
	if c.Args().Len() != 1 {
		e.report("Expecting a directory")
		return exitCode(1)
	}
	dir := c.Args().First()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range manual.Pages(e.version) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
