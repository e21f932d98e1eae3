package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkListed refuses a path of the server's list that leads out of the cache.
func checkListed(name string) error {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\\:\x00") {
		return errors.New("which leads out of the cache")
	}
	return nil
}

// checkPortable refuses a path that is to become a file and cannot on some system, or would not be seen for what it is.
func checkPortable(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		stem, _, _ := strings.Cut(part, ".")
		switch {
		case !utf8.ValidString(part) || strings.ContainsFunc(part, func(r rune) bool { return !unicode.IsPrint(r) }):
			return errors.New("which has characters that do not print")
		case len(part) > 255:
			return errors.New("which is longer than names can be")
		case strings.ContainsAny(part, `<>:"\|?*`) || strings.HasSuffix(part, ".") || strings.HasSuffix(part, " "):
			return errors.New("which Windows cannot have")
		case isDevice(strings.ToUpper(strings.TrimRight(stem, " "))):
			return errors.New("which is a device on Windows")
		}
	}
	return nil
}

// isDevice knows the names that are devices on Windows, whatever extension they have.
func isDevice(stem string) bool {
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	number, ok := strings.CutPrefix(stem, "COM")
	if !ok {
		number, ok = strings.CutPrefix(stem, "LPT")
	}
	return ok && utf8.RuneCountInString(number) == 1 && strings.ContainsAny(number, "0123456789¹²³")
}

// checkNames is about paths that the server of r sends.
func checkNames(r repo, names []string, check func(string) error) error {
	for _, name := range names {
		if err := check(name); err != nil {
			return fmt.Errorf("hub: %s: the server lists a file named %.200q, %w", r.id, name, err)
		}
	}
	return nil
}
