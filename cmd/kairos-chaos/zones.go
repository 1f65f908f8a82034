package main

import (
	"archive/zip"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	_ "time/tzdata" // zones do not depend on the machine
)

// zoneNames lists every zone that Go's own data knows.
func zoneNames() ([]string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find Go: %w", err)
	}
	r, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		return nil, fmt.Errorf("list zones: %w", err)
	}
	defer func() { _ = r.Close() }()
	var all []string
	for _, f := range r.File {
		if !strings.HasSuffix(f.Name, "/") {
			all = append(all, f.Name)
		}
	}
	return all, nil
}
