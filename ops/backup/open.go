package backup

import (
	"fmt"
	"net/url"
	"os"
)

// Open opens a store: file:///DIRECTORY, which is one of the machine that opens it, or s3://BUCKET/PREFIX, with ?endpoint=https://HOST and
// &region=REGION where it is not AWS. Secrets have no place in the URL: it is kept and shown.
func Open(location string) (Store, error) {
	at, err := parseLocation(location)
	if err != nil {
		return nil, err
	}
	if at.Scheme == "file" {
		return OpenDir(at.Path)
	}
	return openS3(at)
}

// OpenThere is Open for a store that is to be read. A directory that is missing is an error: it is a misspelt one, not an empty store.
func OpenThere(location string) (Store, error) {
	at, err := parseLocation(location)
	if err != nil {
		return nil, err
	}
	if at.Scheme == "file" {
		if _, err := os.Stat(at.Path); err != nil {
			return nil, fmt.Errorf("there is no directory of backups: %w", err)
		}
	}
	return Open(location)
}

// Local reports whether a location is a directory, so that only the machine where it is can open it. The error is that of a location
// which no machine can.
func Local(location string) (bool, error) {
	at, err := parseLocation(location)
	return err == nil && at.Scheme == "file", err
}

func parseLocation(location string) (*url.URL, error) {
	at, err := url.Parse(location)
	switch {
	case err != nil || at.Scheme != "file" && at.Scheme != "s3":
		return nil, fmt.Errorf("%q is neither file:///DIRECTORY nor s3://BUCKET/PREFIX", location)
	case at.User != nil:
		return nil, fmt.Errorf("a place for backups must not have credentials in its URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the node")
	case at.Scheme == "s3" && at.Host == "":
		return nil, fmt.Errorf("%q names no bucket: it is s3://BUCKET/PREFIX", location)
	case at.Scheme == "file" && (at.Host != "" || at.Path == ""):
		return nil, fmt.Errorf("%q names no directory: it is file:///DIRECTORY, with three slashes", location)
	}
	return at, nil
}
