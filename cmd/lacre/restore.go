package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"lacre/store"
)

// restoreCommand makes a store from a backup.
func restoreCommand(env map[string]string) *cobra.Command {
	var dataDir string
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Make the store of a data directory from a backup", Args: cobra.ExactArgs(1),
		Long: `Restore makes the embedded store of a data directory from FILE, which 'lacre backup' or 'etcdctl
snapshot save' has written: all of it, or nothing where FILE is not whole. It reads every certificate
and domain once and says how many there are. The directory may be new, or hold everything but the store
(DIR/etcd); lacre must not run in it. Run this as the user that lacre runs as: root is refused in
a directory of somebody else.

What was changed after the backup is as it was before: users and access keys that were disabled, and
client certificates that were revoked since then, count again. The master key of the store has to be put in DIR/master.key, or named
with --master-key, before lacre is started.`,
		Example: `  lacre restore /backups/lacre-2026-11-30.db --data-dir /var/lib/lacre`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needDataDir(cmd, env); err != nil {
				return err
			}
			talk := cmd.ErrOrStderr()
			log := slog.New(slog.NewTextHandler(talk, &slog.HandlerOptions{Level: slog.LevelWarn}))
			found, err := store.Restore(cmd.Context(), dataDir, args[0], log)
			if errors.Is(err, store.ErrOccupied) {
				return hinted{err, "if it is lost or to be replaced, move it away first"}
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(talk, "restored %d certificates and %d domains, as of revision %d\n", found.Certificates, found.Domains, found.Revision)
			if found.Unreadable > 0 {
				fmt.Fprintf(talk, "warning: %d records of the backup cannot be read\n", found.Unreadable)
			}
			if _, err := os.Stat(filepath.Join(dataDir, masterKeyFile)); errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintf(talk, "hint: put the master key of this store in %s before you start lacre\n", filepath.Join(dataDir, masterKeyFile))
			}
			return nil
		},
	}
	dataDirFlags(cmd, &dataDir, "directory to make the store in")
	return cmd
}
