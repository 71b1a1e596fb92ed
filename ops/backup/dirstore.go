package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// dirStore is a directory of the machine that it is opened on. Files are 0600 and folders 0700, for what is in them says who talks to whom.
type dirStore struct{ root string }

// unfinished begins the names of files that are being written.
const unfinished = ".unfinished-"

// OpenDir takes a directory for a store. Where it is missing it is made when something is put into it; before, nothing is in it.
func OpenDir(root string) (Store, error) {
	if !filepath.IsAbs(root) {
		return nil, fmt.Errorf("the directory %q is not an absolute path", root)
	}
	return dirStore{filepath.Clean(root)}, nil
}

func (d dirStore) path(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	return filepath.Join(d.root, filepath.FromSlash(name)), nil
}

// Put implements Store: the file counts under its name only once all of it is on the disk.
func (d dirStore) Put(_ context.Context, name string, content []byte) (err error) {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.root, 0o700); err != nil {
		return err
	}
	folder := filepath.Dir(path)
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	file, err := os.CreateTemp(folder, unfinished)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

// makeFolder makes a folder and those above it, durably.
func (d dirStore) makeFolder(folder string) error {
	if _, err := os.Stat(folder); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if above := filepath.Dir(folder); len(above) >= len(d.root) {
		if err := d.makeFolder(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(folder))
}

func syncFolder(folder string) error {
	opened, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}

// Get implements Store.
func (d dirStore) Get(_ context.Context, name string, max int64) (content []byte, err error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, missing(name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err = io.ReadAll(io.LimitReader(file, max+1))
	if err == nil && int64(len(content)) > max {
		err = fmt.Errorf("%s: %w", name, errTooLong)
	}
	return content, err
}

// Size implements Store.
func (d dirStore) Size(_ context.Context, name string) (int64, error) {
	path, err := d.path(name)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, missing(name, err)
	}
	return info.Size(), nil
}

// List implements Store.
func (d dirStore) List(ctx context.Context, prefix string, visit func(name string, bytes int64) error) error {
	start := d.root
	if prefix != "" {
		var err error
		if start, err = d.path(strings.TrimSuffix(prefix, "/")); err != nil {
			return err
		}
	}
	err := filepath.WalkDir(start, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(d.root, path)
		if err != nil {
			return err
		}
		return visit(filepath.ToSlash(name), info.Size())
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Remove implements Store.
func (d dirStore) Remove(_ context.Context, name string) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func missing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", name, ErrMissing)
	}
	return err
}
