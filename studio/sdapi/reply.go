package sdapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/studio/jobs"
)

// Error is an answer that something cannot be done, in the web UI's form.
type Error struct {
	Status int    // of HTTP
	Kind   string // such as "HTTPException"
	Detail string // for people: what is wrong, and what to do
	Faults []Fault
}

// Error is the detail, or the first fault.
func (e *Error) Error() string {
	if e.Detail == "" && len(e.Faults) > 0 {
		return fmt.Sprint(e.Faults[0].Loc, ": ", e.Faults[0].Msg)
	}
	return e.Detail
}

// refuse makes an Error.
func refuse(status int, detail string, args ...any) *Error {
	return &Error{Status: status, Kind: "HTTPException", Detail: fmt.Sprintf(detail, args...)}
}

// faulty is the answer to a request with faults; nil if there are none.
func faulty(faults []Fault) error {
	if len(faults) == 0 {
		return nil
	}
	const most = 100
	return &Error{Status: http.StatusUnprocessableEntity, Kind: "RequestValidationError", Faults: faults[:min(len(faults), most)]}
}

// body is the answer's: detail is a text, or the list of faults that FastAPI answers with.
func (e *Error) body() any {
	answer := struct {
		Error  string `json:"error"`
		Detail any    `json:"detail"`
		Body   string `json:"body"`
		Errors string `json:"errors"`
	}{Error: e.Kind, Detail: e.Detail, Errors: e.Error()}
	if e.Faults != nil {
		answer.Detail = e.Faults
	}
	return answer
}

// gzipFrom is the size in bytes from which answers are compressed, the web UI's.
const gzipFrom = 1000

// answer writes what a handler returned.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, value any, err error) {
	if err != nil && r.Context().Err() != nil {
		return // who asked is gone
	}
	status := http.StatusOK
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			s.log.Error("a request failed", "path", r.URL.Path, "error", err)
			e = &Error{Status: http.StatusInternalServerError, Kind: "RuntimeError", Detail: err.Error()}
			if errors.Is(err, jobs.ErrUnreachable) {
				e.Status = http.StatusServiceUnavailable
			} else if errors.Is(err, jobs.ErrFull) {
				e.Status = http.StatusInsufficientStorage
			}
		}
		if e.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Basic")
		}
		status, value = e.Status, e.body()
	}
	text, err := json.Marshal(value)
	if err != nil {
		s.log.Error("an answer cannot be written as JSON", "path", r.URL.Path, "error", err)
		status, text = http.StatusInternalServerError, []byte(`{"error":"RuntimeError","detail":"the answer cannot be written as JSON"}`)
	}
	send(w, r, status, "application/json", text)
}

// send writes an answer, compressed if it is long and the client takes that.
func send(w http.ResponseWriter, r *http.Request, status int, kind string, text []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if began, ok := r.Context().Value(beganKey{}).(time.Time); ok {
		h.Set("X-Process-Time", strconv.FormatFloat(time.Since(began).Seconds(), 'f', 4, 64))
	}
	h.Add("Vary", "Accept-Encoding")
	if len(text) > gzipFrom && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		var b bytes.Buffer
		// Most of what is long is base64 of pictures, in which nothing repeats: counting letters saves all that can be saved.
		z, _ := gzip.NewWriterLevel(&b, gzip.HuffmanOnly)
		z.Write(text)
		z.Close()
		h.Set("Content-Encoding", "gzip")
		text = b.Bytes()
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	w.Write(text)
}
