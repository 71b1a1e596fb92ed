package backup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// s3Store is a bucket of an S3-compatible store, or what is below a prefix of it. Credentials are those of the machine, never of the
// URL: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the shared credentials file, or the role of the instance or the pod.
type s3Store struct {
	client *minio.Client
	bucket string
	prefix string // "" or with a final slash
}

// openS3 takes s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION. Without an endpoint it is AWS.
func openS3(at *url.URL) (Store, error) {
	endpoint, region := at.Query().Get("endpoint"), at.Query().Get("region")
	for option := range at.Query() {
		if option != "endpoint" && option != "region" {
			return nil, fmt.Errorf("s3 has no option %q; it has endpoint and region", option)
		}
	}
	if endpoint == "" {
		endpoint = "https://s3.amazonaws.com"
	}
	base, err := url.Parse(endpoint)
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || base.Host == "" || strings.Trim(base.Path, "/") != "" {
		return nil, fmt.Errorf("the endpoint %q is not https://HOST", endpoint)
	}
	if at.Host == "" {
		return nil, fmt.Errorf("%s names no bucket", at.Redacted())
	}
	s := s3Store{bucket: at.Host}
	if prefix := strings.Trim(at.Path, "/"); prefix != "" {
		if err := checkName(prefix); err != nil {
			return nil, err
		}
		s.prefix = prefix + "/"
	}
	s.client, err = minio.New(base.Host, &minio.Options{
		Secure: base.Scheme == "https", Region: region,
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
		}),
	})
	return s, err
}

// Put implements Store: an object store has an object whole or not at all.
func (s s3Store) Put(ctx context.Context, name string, content []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	_, err := s.client.PutObject(ctx, s.bucket, s.prefix+name, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{
		ContentType: "application/octet-stream", DisableMultipart: len(content) < 1<<30,
	})
	return s.fault("put", name, err)
}

// Get implements Store.
func (s s3Store) Get(ctx context.Context, name string, max int64) (content []byte, err error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	object, err := s.client.GetObject(ctx, s.bucket, s.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, s.fault("get", name, err)
	}
	content, err = io.ReadAll(io.LimitReader(object, max+1))
	closed := object.Close()
	switch {
	case err != nil:
		return nil, s.fault("get", name, err)
	case int64(len(content)) > max:
		return nil, fmt.Errorf("%s: %w", name, errTooLong)
	default:
		return content, closed
	}
}

// Size implements Store.
func (s s3Store) Size(ctx context.Context, name string) (int64, error) {
	if err := checkName(name); err != nil {
		return 0, err
	}
	info, err := s.client.StatObject(ctx, s.bucket, s.prefix+name, minio.StatObjectOptions{})
	return info.Size, s.fault("look at", name, err)
}

// List implements Store.
func (s s3Store) List(ctx context.Context, prefix string, visit func(name string, bytes int64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing where visit does
	for object := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}) {
		if object.Err != nil {
			return s.fault("list", prefix, object.Err)
		}
		if err := visit(strings.TrimPrefix(object.Key, s.prefix), object.Size); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Remove implements Store.
func (s s3Store) Remove(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return s.fault("remove", name, s.client.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{}))
}

// fault tells what is not there from what went wrong.
func (s s3Store) fault(verb, name string, err error) error {
	switch answer := minio.ToErrorResponse(err); {
	case err == nil:
		return nil
	case answer.StatusCode == http.StatusNotFound && answer.Code != minio.NoSuchBucket:
		return fmt.Errorf("%s: %w", name, ErrMissing)
	default:
		return fmt.Errorf("%s %s in the bucket %s: %w", verb, name, s.bucket, err)
	}
}
