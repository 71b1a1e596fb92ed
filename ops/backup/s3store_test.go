package backup

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// bucketServer speaks as much of S3 as a store needs: objects of one bucket, listed three at a time. Who has not signed is shut out.
type bucketServer struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func (b *bucketServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key, ours := strings.CutPrefix(r.URL.Path, "/backups-of-tests/")
	switch {
	case !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=an-id/"):
		refuse(w, http.StatusForbidden, "AccessDenied")
	case !ours:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case key == "" && r.Method == http.MethodGet && r.URL.Query().Has("location"):
		fmt.Fprint(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-test-1</LocationConstraint>`)
	case key == "" && r.Method == http.MethodGet:
		b.list(w, r)
	case r.Method == http.MethodPut:
		b.put(w, r, key)
	case r.Method == http.MethodDelete:
		delete(b.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case b.objects[key] == nil:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	default:
		w.Header().Set("Content-Length", strconv.Itoa(len(b.objects[key])))
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.Header().Set("ETag", `"an-etag"`)
		if r.Method == http.MethodGet {
			_, _ = w.Write(b.objects[key])
		}
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
}

// put takes a body as it stands, or in the signed pieces that come over plain HTTP.
func (b *bucketServer) put(w http.ResponseWriter, r *http.Request, key string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		var content []byte
		for {
			head, rest, _ := bytes.Cut(body, []byte("\r\n"))
			size, err := strconv.ParseInt(strings.Split(string(head), ";")[0], 16, 64)
			if err != nil || size == 0 || int(size) > len(rest) {
				break
			}
			content, body = append(content, rest[:size]...), rest[size+2:]
		}
		body = content
	}
	b.objects[key] = body
	w.Header().Set("ETag", `"an-etag"`)
}

func (b *bucketServer) list(w http.ResponseWriter, r *http.Request) {
	var names []string
	for name := range b.objects {
		if strings.HasPrefix(name, r.URL.Query().Get("prefix")) && name > r.URL.Query().Get("continuation-token") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	type contents struct {
		Key          string
		Size         int
		LastModified string
	}
	answer := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string
		Contents              []contents
	}{IsTruncated: len(names) > 3}
	for _, name := range names[:min(3, len(names))] {
		answer.Contents = append(answer.Contents, contents{name, len(b.objects[name]), "2026-01-02T15:04:05.000Z"})
		answer.NextContinuationToken = name
	}
	_ = xml.NewEncoder(w).Encode(answer)
}

func openTestBucket(t *testing.T) (Store, *bucketServer) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "an-id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
	bucket := &bucketServer{objects: make(map[string][]byte)}
	server := httptest.NewServer(bucket)
	t.Cleanup(server.Close)
	store, err := Open("s3://backups-of-tests/parley/one?region=eu-test-1&endpoint=" + server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return store, bucket
}

func TestS3HoldsABackup(t *testing.T) {
	store, bucket := openTestBucket(t)
	c := smallCluster(t)
	mustCreate(t, c, store, "b1")
	mustBeWhole(t, store, "b1")
	sameRecords(t, c.records, recordsOf(t, store, "b1"))
	if again := mustCreate(t, c, store, "b2"); again.NewChunks != 0 {
		t.Errorf("%d chunks were written again", again.NewChunks)
	}
	for name := range bucket.objects {
		if !strings.HasPrefix(name, "parley/one/") {
			t.Errorf("%s lies beside the prefix", name)
		}
	}
	if pruned, err := Prune(testContext(t), store, 1); err != nil || !slices.Equal(pruned.Backups, []string{"b1"}) {
		t.Errorf("pruned %+v, %v", pruned, err)
	}
	mustBeWhole(t, store, "b2")
}

// Every store answers alike for what is not there, and is too long.
func TestStoresAgree(t *testing.T) {
	all := stores(t)
	all["s3"], _ = openTestBucket(t)
	for name, store := range all {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			if _, err := store.Get(ctx, "a/b", 10); !errors.Is(err, ErrMissing) {
				t.Errorf("get of nothing: %v", err)
			}
			if _, err := store.Size(ctx, "a/b"); !errors.Is(err, ErrMissing) {
				t.Errorf("size of nothing: %v", err)
			}
			if err := store.Remove(ctx, "a/b"); err != nil {
				t.Errorf("remove of nothing: %v", err)
			}
			for _, object := range []string{"a/c", "a/b", "a/d/e", "b"} {
				if err := store.Put(ctx, object, []byte("0123456789")); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := store.Get(ctx, "a/b", 9); !errors.Is(err, errTooLong) {
				t.Errorf("get of more than was asked for: %v", err)
			}
			if content, err := store.Get(ctx, "a/b", 10); err != nil || string(content) != "0123456789" {
				t.Errorf("get: %q, %v", content, err)
			}
			var names []string
			err := store.List(ctx, "a/", func(name string, size int64) error {
				names = append(names, fmt.Sprintf("%s:%d", name, size))
				return nil
			})
			if err != nil || !slices.Equal(names, []string{"a/b:10", "a/c:10", "a/d/e:10"}) {
				t.Errorf("listed %v, %v", names, err)
			}
			for _, bad := range []string{"", "/a", "a//b", "../a", "a/..", "a b"} {
				if store.Put(ctx, bad, nil) == nil {
					t.Errorf("the name %q was taken", bad)
				}
			}
		})
	}
}

func TestLocations(t *testing.T) {
	for location, local := range map[string]bool{"file:///var/backups": true, "s3://bucket/prefix": false, "s3://bucket": false} {
		if is, err := Local(location); err != nil || is != local {
			t.Errorf("%s: local %v, %v", location, is, err)
		}
	}
	for _, bad := range []string{"", "/var/backups", "file://var/backups", "https://x/y", "s3://id:secret@bucket/p", "file:"} {
		if _, err := Local(bad); err == nil {
			t.Errorf("%q was taken", bad)
		} else if strings.Contains(err.Error(), "secret@") {
			t.Errorf("%q: the error tells the secret: %v", bad, err)
		}
	}
	for _, bad := range []string{"s3://", "s3://b?endpoint=ftp://x", "s3://b?secret=x", "s3://b/../x"} {
		if _, err := Open(bad); err == nil {
			t.Errorf("%q was opened", bad)
		}
	}
}
