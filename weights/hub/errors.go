package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// ErrOffline is in the error for a model that is not cached while Client.Offline is set.
var ErrOffline = errors.New("offline")

// ErrHash is in the error for a file whose content is not what the Hub published.
var ErrHash = errors.New("the content does not match its hash")

// errRedirect is in errors about redirections that are not followed.
var errRedirect = errors.New("redirection refused")

// StatusError is the server's refusal.
type StatusError struct {
	Code           int    // HTTP status
	URL            string // without passwords and signatures
	Repo, Revision string
	Token          bool   // a token was sent
	Reason         string // the Hub's X-Error-Code: RepoNotFound, RevisionNotFound, EntryNotFound, GatedRepo
	Message        string // the Hub's X-Error-Message

	endpoint string
}

// Error says what was refused and what to do about it.
func (e *StatusError) Error() string {
	said := ""
	if e.Message != "" {
		said = fmt.Sprintf(" (%.300q)", e.Message)
	}
	return fmt.Sprintf("hub: %s: %d %s%s; %s", e.URL, e.Code, http.StatusText(e.Code), said, e.mend())
}

func (e *StatusError) mend() string {
	switch {
	case e.Code == http.StatusUnauthorized && !e.Token:
		return fmt.Sprintf("there is no public model %s: check the name, or, if it is private or gated, make a token at %s/settings/tokens and set HF_TOKEN", e.Repo, e.endpoint)
	case e.Code == http.StatusUnauthorized:
		return fmt.Sprintf("the token is not accepted or there is no model %s: check the name, and HF_TOKEN against %s/settings/tokens", e.Repo, e.endpoint)
	case e.Code == http.StatusForbidden:
		return fmt.Sprintf("accept the model's conditions at %s/%s with the account the token belongs to, and let the token read gated models", e.endpoint, e.Repo)
	case e.Code == http.StatusNotFound && e.Reason == "RevisionNotFound":
		return fmt.Sprintf("%s has no revision %q: leave @%s out for main", e.Repo, e.Revision, e.Revision)
	case e.Code == http.StatusNotFound:
		return fmt.Sprintf("check the name %s at %s", e.Repo, e.endpoint)
	}
	return "try again later"
}

// passes reports whether a later request may be answered.
func (e *StatusError) passes() bool {
	switch e.Code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return e.Code >= 520 // content servers have these for their own failures
}

// passingError marks a failure that may be gone at the next try, not before some time if the server names it.
type passingError struct {
	error
	after time.Duration
}

// Unwrap is the failure.
func (e *passingError) Unwrap() error { return e.error }

// retryAfter is how long the server wants to be left alone, in seconds or until a date.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(time.Until(date), 0)
	}
	return 0
}

// connectionError is a request that got no answer, told without passwords and signatures, for which the next try may be
// better unless it is one of those that stay.
func connectionError(ctx context.Context, address *url.URL, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	told := fmt.Errorf("hub: %s: %w", public(address), err)
	if stays(err) {
		return told
	}
	return &passingError{error: told}
}

// stays reports whether a connection fails for a reason that trying again does not change.
func stays(err error) bool {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.IsNotFound
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	return certificate || record || errors.Is(err, errRedirect) || slices.ContainsFunc(unreachable, func(e error) bool { return errors.Is(err, e) })
}

// public is an address as it may be printed: without user, password and query, which may hold signatures.
func public(address *url.URL) string {
	u := url.URL{Scheme: address.Scheme, Host: address.Host, Path: address.Path}
	return u.String()
}

// bounded reads an answer of at most limit bytes.
func bounded(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return body, err
}
