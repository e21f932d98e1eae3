package studio

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/sdapi"
)

// maxUpload is the most bytes that a request has.
const maxUpload = 256 << 20

// policy is what a page may load and do: only what comes from here, and no script or style that stands in the page itself.
const policy = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// guard stands in front of everything: it refuses whom it does not know, bounds what they send, and tells the log.
func (s *Server) guard(next http.Handler) http.Handler {
	var origins http.CrossOriginProtection
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, began := rand.Text()[:10], time.Now()
		ctx := context.WithValue(r.Context(), requestKey{}, id)
		r = r.WithContext(context.WithValue(ctx, markKey{}, s.api.Mark()))
		out := &recorder{ResponseWriter: w}
		defer func() {
			if fault := recover(); fault != nil && fault != http.ErrAbortHandler {
				s.log.Error("a request panicked", "id", id, "path", r.URL.Path, "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
				if out.status == 0 {
					s.fail(out, r, &api.Problem{Status: http.StatusInternalServerError, Detail: "The studio made a mistake; its log has it under " + id + "."})
				}
			}
			s.log.Debug("request", "id", id, "method", r.Method, "path", r.URL.Path, "status", out.status, "time", time.Since(began))
		}()
		h := out.Header()
		h.Set("X-Request-Id", id)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		r.Body = http.MaxBytesReader(out, r.Body, maxUpload)
		switch err := origins.Check(r); {
		case !s.knows(r.Host):
			s.fail(out, r, &api.Problem{Status: http.StatusMisdirectedRequest, Detail: "This studio is not called " + printable(hostOf(r.Host)) + ". Use 127.0.0.1 or localhost in the address, or start it with -host and the name."})
		case err != nil:
			s.fail(out, r, &api.Problem{Status: http.StatusForbidden, Detail: "The request comes from a page elsewhere, which may change nothing here."})
		case !s.trusts(r) && !s.asksElsewhere(r):
			s.ask(out, r)
		default:
			next.ServeHTTP(out, r)
		}
	})
}

// requestKey is under which a request's context has its ID.
type requestKey struct{}

// markKey is under which a request's context has where events go on for a page that is made of what there is from now on.
type markKey struct{}

// hostOf is a host without its port.
func hostOf(host string) string {
	if name, port, err := net.SplitHostPort(host); err == nil && strings.Trim(port, "0123456789") == "" {
		host = name
	}
	return strings.TrimSuffix(strings.Trim(host, "[]"), ".")
}

// knows reports whether a name means this server. The names of other machines can be made to mean this one by who owns them, so that
// their pages would be at home here (DNS rebinding).
func (s *Server) knows(host string) bool {
	host = strings.ToLower(hostOf(host))
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback() || s.options.Token != ""
	}
	return host == "localhost" || slices.ContainsFunc(s.options.Hosts, func(known string) bool { return strings.EqualFold(known, host) })
}

// cookie is the name of the cookie with the token.
const cookie = "atelier"

// trusts reports whether a request shows the token, if there is one.
func (s *Server) trusts(r *http.Request) bool {
	if s.options.Token == "" {
		return true
	}
	if c, err := r.Cookie(cookie); err == nil && s.isToken(c.Value) {
		return true
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && s.isToken(token) {
		return true
	}
	_, password, ok := r.BasicAuth()
	return ok && s.isToken(password)
}

// asksElsewhere reports whether a request is for the web UI's API, which asks for users and passwords of its own.
func (s *Server) asksElsewhere(r *http.Request) bool {
	_, pattern := s.mux.Handler(r)
	return len(s.options.APIAuth) > 0 && slices.Contains(sdapi.Prefixes, pattern)
}

// isToken compares in a time that tells nothing.
func (s *Server) isToken(text string) bool {
	have, want := sha256.Sum256([]byte(text)), sha256.Sum256([]byte(s.options.Token))
	return subtle.ConstantTimeCompare(have[:], want[:]) == 1
}

// ask lets somebody in who has the token in the address or on the page that asks for it, and shows that page to others.
func (s *Server) ask(w http.ResponseWriter, r *http.Request) {
	given := r.URL.Query().Get("token")
	if r.Method == http.MethodPost && r.URL.Path == "/login" {
		r.Body = http.MaxBytesReader(w, r.Body, 4096)
		given = r.PostFormValue("token")
	}
	if s.isToken(given) {
		http.SetCookie(w, &http.Cookie{Name: cookie, Value: given, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode, MaxAge: 365 * 24 * 3600})
		http.Redirect(w, r, s.wanted(r), http.StatusSeeOther)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/static/") && r.Method == http.MethodGet {
		static().ServeHTTP(w, r) // what the page that asks needs to look like one
		return
	}
	if !wantsPage(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="Atelier"`)
		s.fail(w, r, &api.Problem{Status: http.StatusUnauthorized, Detail: "The studio's token is wanted: as a bearer's, or as the password of Basic authentication."})
		return
	}
	s.render(w, r, http.StatusUnauthorized, "login", view{Title: "Token", Content: struct {
		To    string
		Wrong bool
	}{s.wanted(r), given != ""}})
}

// wanted is where somebody wanted to go, without the token.
func (s *Server) wanted(r *http.Request) string {
	to := *r.URL
	if r.URL.Path == "/login" {
		if u, err := url.Parse(r.FormValue("to")); err == nil {
			to = *u
		}
	}
	query := to.Query()
	query.Del("token")
	// Only the path is taken, with one slash in front, so that the way leads nowhere else.
	return (&url.URL{Path: "/" + strings.TrimLeft(to.Path, `/\`), RawQuery: query.Encode()}).String()
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
