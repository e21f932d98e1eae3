package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxCaptionBytes bounds a caption file; 77 tokens are some hundreds of bytes.
const maxCaptionBytes = 1 << 20

// usualCaptionExtensions are tried when no extension is configured, and looked for when the configured one finds nothing.
var usualCaptionExtensions = []string{".txt", ".caption"}

// captionCandidates are the caption files a picture may have, best first. The second form belongs to face crops called
// name_cx_cy_w_h: the four numbers are taken off.
func captionCandidates(picture, extension string) []string {
	stem := strings.TrimSuffix(picture, filepath.Ext(picture))
	candidates := []string{stem + extension}
	if pieces := strings.Split(stem, "_"); len(pieces) >= 5 {
		candidates = append(candidates, strings.Join(pieces[:len(pieces)-4], "_")+extension)
	}
	return candidates
}

// findCaption reads the caption of a picture. found is false if it has no caption file.
func findCaption(picture, extension string, wildcards bool) (caption string, found bool, err error) {
	extensions := []string{extension}
	if extension == "" {
		extensions = usualCaptionExtensions
	}
	for _, extension := range extensions {
		for _, path := range captionCandidates(picture, extension) {
			info, err := os.Stat(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return "", false, fmt.Errorf("dataset: caption: %w", err)
			}
			if info.Size() > maxCaptionBytes {
				return "", false, fmt.Errorf("dataset: caption %s: %d bytes, want at most %d: this is no caption", path, info.Size(), maxCaptionBytes)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return "", false, fmt.Errorf("dataset: caption: %w", err)
			}
			caption, err := parseCaption(data, wildcards)
			if err != nil {
				return "", false, fmt.Errorf("dataset: caption %s: %w", path, err)
			}
			return caption, true, nil
		}
	}
	return "", false, nil
}

// parseCaption takes the first line of a caption file, or with wildcards all lines that are not blank, each stripped.
func parseCaption(data []byte, wildcards bool) (string, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // Windows editors put it in front
	if len(data) == 0 {
		return "", errors.New("the file is empty: write a caption into it, or delete it to use the class tokens")
	}
	if !utf8.Valid(data) {
		return "", errors.New("not UTF-8: save the file with that encoding")
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	lines := strings.Split(strings.ReplaceAll(text, "\r", "\n"), "\n")
	if !wildcards {
		return strings.TrimSpace(lines[0]), nil
	}
	var kept []string
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n"), nil
}
