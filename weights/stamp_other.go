//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly || windows)

package weights

// stamp looks at the open file.
func (d *disk) stamp() (stamp, error) {
	info, err := d.Stat()
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.Size(), info.ModTime().UnixNano()}, nil
}
