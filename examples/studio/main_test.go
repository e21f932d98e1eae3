package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHelp(t *testing.T) {
	var log bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, io.Discard, &log); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "\n"); n > 40 {
		t.Errorf("the help has %d lines, more than a screen", n)
	}
}

func TestOptions(t *testing.T) {
	for _, args := range [][]string{
		{"-listen", "7860"}, {"-api-auth", "nobody"}, {"-token", "short", "-data-dir", t.TempDir(), "-listen", "127.0.0.1:0"}, {"-model", "nobody", "-data-dir", t.TempDir()}, {"x"},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	for listen, wanted := range map[string]bool{"127.0.0.1:0": false, "localhost:0": false, "[::1]:0": false, ":0": true, "0.0.0.0:0": true, "192.0.2.1:0": true} {
		o := options{listen: listen}
		if o.library.DataDir = t.TempDir(); o.complete() != nil || (o.token != "") != wanted {
			t.Errorf("-listen %s has the token %q", listen, o.token)
		}
	}
}

// TestInstallation uses what is installed in the home folder, unless somebody says where things are.
func TestInstallation(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	comfy, webui := filepath.Join(home, "ComfyUI"), filepath.Join(home, "stable-diffusion-webui")
	for _, one := range []struct {
		folder, given, dataDir, want string
	}{
		{"", "", "", ""}, {filepath.Join(comfy, "models", "checkpoints"), "", "", comfy}, {filepath.Join(webui, "models", "Stable-diffusion"), "", "", webui},
		{"", "none", "", ""}, {"", comfy, "", comfy}, {"", "", t.TempDir(), ""},
	} {
		if one.folder != "" {
			if err := os.MkdirAll(one.folder, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		o := options{listen: "127.0.0.1:0"}
		o.library.WebUI, o.library.DataDir = one.given, one.dataDir
		if err := o.complete(); err != nil || o.library.WebUI != one.want || (o.found != "") != (one.given == "" && one.want != "") {
			t.Errorf("%+v: the models of %q, found %q: %v", one, o.library.WebUI, o.found, err)
		}
	}
}

// TestServe starts the studio, looks at a page and ends it, twice in one folder.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		ctx, stop := context.WithCancel(t.Context())
		r, w := io.Pipe()
		ended := make(chan error)
		go func() {
			ended <- run(ctx, []string{"-data-dir", dir, "-listen", "127.0.0.1:0", "-token", "0123456789abcdef", "-device", "cpu"}, w, io.Discard)
			w.Close()
		}()
		address, err := bufio.NewReader(r).ReadString('\n')
		if err != nil {
			t.Fatal(<-ended)
		}
		got, err := http.Get(strings.TrimSpace(address))
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		if got.StatusCode != http.StatusUnauthorized && got.StatusCode != http.StatusOK {
			t.Errorf("the page: %d", got.StatusCode)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
