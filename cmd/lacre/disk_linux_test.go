package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// disk is a small file system of its own.
type disk struct {
	t   *testing.T
	dir string
}

// newDisk mounts a tmpfs of so many MiB until the test ends. That takes root, or sudo
// without a password; the test is skipped without.
func newDisk(t *testing.T, mebibytes int) *disk {
	t.Helper()
	d := &disk{t, t.TempDir()}
	options := fmt.Sprintf("size=%dm,mode=0700,uid=%d", mebibytes, os.Getuid())
	if err := d.mount(options); err != nil {
		cannot(t, "mounting a tmpfs takes root or sudo", err)
	}
	t.Cleanup(func() {
		if err := d.unmount(); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return d
}

func (d *disk) mount(options string) error {
	err := unix.Mount("tmpfs", d.dir, "tmpfs", 0, options)
	if errors.Is(err, unix.EPERM) {
		return exec.Command("sudo", "-n", "mount", "-t", "tmpfs", "-o", options, "tmpfs", d.dir).Run()
	}
	return err
}

func (d *disk) unmount() error {
	err := unix.Unmount(d.dir, unix.MNT_DETACH)
	if errors.Is(err, unix.EPERM) {
		return exec.Command("sudo", "-n", "umount", "-l", d.dir).Run()
	}
	return err
}

// readOnly makes the disk refuse all writes, or take them again.
func (d *disk) readOnly(on bool) {
	d.t.Helper()
	flags, word := uintptr(unix.MS_REMOUNT), "remount,rw"
	if on {
		flags, word = flags|unix.MS_RDONLY, "remount,ro"
	}
	err := unix.Mount("tmpfs", d.dir, "tmpfs", flags, "")
	if errors.Is(err, unix.EPERM) {
		err = exec.Command("sudo", "-n", "mount", "-o", word, d.dir).Run()
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// fill leaves so many bytes free, and returns what frees the rest again.
func (d *disk) fill(leave uint64) (free func()) {
	d.t.Helper()
	var fsys unix.Statfs_t
	if err := unix.Statfs(d.dir, &fsys); err != nil {
		d.t.Fatal(err)
	}
	path := filepath.Join(d.dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, int64(fsys.Bavail*uint64(fsys.Bsize)-leave)), f.Close()); err != nil {
		d.t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			d.t.Fatal(err)
		}
	}
}

// TestFaultDiskFull fills the disk under a running serve. Writes are refused with the
// reason, everything else goes on; with space again so do writes. A start on a full disk
// serves or says why not, and nothing that was acknowledged is lost.
func TestFaultDiskFull(t *testing.T) {
	t.Parallel()
	d := newDisk(t, 640)
	dir := filepath.Join(d.dir, "data")
	p := start(t, dir)
	w := visitLacre(t, dir)
	const host = "full.fault.test"
	s := w.publish(host, "", w.leaf(host, 1))

	free := d.fill(64 << 20)
	if got := w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 2)), 500).field("error_code"); got != "APIG.3500" {
		t.Errorf("PUT on a full disk: got %s, want APIG.3500", got)
	}
	w.wantServed(host, 1)
	w.ask("GET", "/certificates/"+s.id, nil, 200)
	if a, err := w.send("GET", "/readyz", nil); err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("ready on a full disk: got %v, %v, want 503", a, err)
	}
	free()
	w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 3)), 200)
	w.wantServed(host, 3)
	p.stop()

	free = d.fill(0)
	p = launch(t, dir)
	code := p.exit()
	if code != exitFailed {
		t.Errorf("start on a disk without a free byte: got exit code %d, want 1", code)
	}
	p.says("lacre: ", "no space left on device")
	free()
	p = start(t, dir)
	w.follow(dir)
	w.wantServed(host, 3)
	w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 4)), 200)
	p.stop()
}

// TestFaultDiskFullOfCopies has a disk that is too small for the store's reserve and a copy:
// there is no copy then, and everything else goes on.
func TestFaultDiskFullOfCopies(t *testing.T) {
	t.Parallel()
	d := newDisk(t, 1024)
	dir := filepath.Join(d.dir, "data")
	p := start(t, dir)
	w := visitLacre(t, dir)
	const host = "crowded.fault.test"
	s := w.publish(host, "", w.leaf(host, 1))
	w.copies()
	free := d.fill(400 << 20) // the store writes above 256 MiB, its copy above 512
	w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 2)), 200)
	eventually(t, "giving up the copy", func() bool { return w.metric("lacre_store_copy_revision") == 0 })
	if _, err := os.Stat(filepath.Join(dir, "copy.db")); err == nil {
		t.Error("the copy still takes room on the full disk")
	}
	w.ask("PUT", "/certificates/"+s.id, s.upload(w.leaf(host, 3)), 200)
	w.wantServed(host, 3)
	p.stop()
	p.says("no copy of the store is kept", "the store is full")
	free()
	p = start(t, dir)
	w.follow(dir)
	w.wantServed(host, 3)
	w.copies()
	p.stop()
}

// TestFaultReadOnlyDirectory starts on a data directory that cannot be written to.
func TestFaultReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	d := newDisk(t, 640)
	dir := filepath.Join(d.dir, "data")
	p := start(t, dir)
	w := visitLacre(t, dir)
	const host = "readonly.fault.test"
	w.publish(host, "", w.leaf(host, 1))
	p.stop()

	for _, path := range []string{dir, filepath.Join(d.dir, "new")} {
		d.readOnly(true)
		p = launch(t, path)
		if code := p.exit(); code != exitFailed {
			t.Errorf("start in a read-only %s: got exit code %d, want 1", path, code)
		}
		p.says("lacre: ", "read-only file system", "must be")
		d.readOnly(false)
	}
	p = start(t, dir)
	w.follow(dir)
	w.wantServed(host, 1)
	p.stop()
}
