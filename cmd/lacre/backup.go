package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// backupCommand takes a backup of the store of a running lacre.
func backupCommand(env map[string]string) *cobra.Command {
	var dataDir string
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Take a backup of the store while lacre runs", Args: cobra.ExactArgs(1),
		Long: `Backup writes all that a running lacre has stored to FILE, or to stdout for -, as of one moment
and while changes go on. FILE must not exist yet, and its file system has to know hard links (where it
does not, 'lacre backup - > FILE' does it). It has the form of etcd's own snapshots: 'lacre
restore' takes it, and 'etcdutl snapshot restore' does for an external cluster of etcd 3.7 or newer.
Private keys are sealed in it; the master key is not in it, and has to be kept elsewhere.

It is for whoever owns the data directory, on the machine that lacre runs on.`,
		Example: `  lacre backup /backups/lacre-$(date +%F).db --data-dir /var/lib/lacre
  lacre backup - --data-dir /var/lib/lacre | restic backup --stdin --stdin-filename lacre.db`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needDataDir(cmd, env); err != nil {
				return err
			}
			if args[0] == "-" {
				_, err := takeBackup(cmd.Context(), dataDir, cmd.OutOrStdout())
				return err
			}
			size, err := backUpTo(cmd.Context(), dataDir, args[0])
			if err == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d bytes\n", args[0], size)
			}
			return err
		},
	}
	dataDirFlags(cmd, &dataDir, "data directory of the lacre that runs")
	return cmd
}

// dataDirFlags are the flags of a command that is nothing without a data directory.
func dataDirFlags(cmd *cobra.Command, dataDir *string, usage string) {
	cmd.Flags().StringVar(dataDir, "data-dir", "", usage)
	cmd.Flags().String("config", "", "file with these settings")
}

// needDataDir fills those flags.
func needDataDir(cmd *cobra.Command, env map[string]string) error {
	if err := fill(cmd.Flags(), env); err != nil {
		return err
	}
	if dir, err := cmd.Flags().GetString("data-dir"); err != nil || dir == "" {
		return errors.Join(err, usagef("--data-dir is required"))
	}
	return nil
}

// backUpTo makes a file that is a whole backup, or none. A file that is there is looked for
// first, since a backup takes minutes.
func backUpTo(ctx context.Context, dataDir, path string) (size int64, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return 0, errors.Join(fmt.Errorf("%s: %w", path, fs.ErrExist), err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ignoreMissing(os.Remove(f.Name()))) }()
	size, err = takeBackup(ctx, dataDir, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	if err := os.Link(f.Name(), path); err != nil { // a rename would replace what came meanwhile
		return 0, err
	}
	return size, syncDir(filepath.Dir(path))
}

// backupClient speaks HTTP to the socket of a data directory, whatever the URL says.
func backupClient(dataDir string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", backupSocketOf(dataDir))
	}}}
}

// takeBackup asks a running lacre for a backup.
func takeBackup(ctx context.Context, dataDir string, to io.Writer) (int64, error) {
	client := backupClient(dataDir)
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://lacre/", nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, hinted{fmt.Errorf("asking for a backup: %w", err), "is lacre running with this data directory, and are you its user?"}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return 0, fmt.Errorf("asking for a backup: %s: %s", resp.Status, strings.TrimSpace(string(why)))
	}
	size, err := io.Copy(to, resp.Body)
	if err != nil {
		return 0, fmt.Errorf("taking the backup: %w", err)
	}
	return size, nil
}
