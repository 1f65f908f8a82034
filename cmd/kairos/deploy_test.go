package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"kairos/delivery/deliverytest"
)

// deployed reads a file of deploy/.
func deployed(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
	require.NoError(t, err)
	return string(raw)
}

// documents reads all documents of a YAML file.
func documents(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc map[string]any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		require.NotEmpty(t, doc)
		all = append(all, doc)
	}
}

// surface is what the command takes: variables of the environment and commands.
func surface(t *testing.T) (variables, commands []string) {
	t.Helper()
	var c cli
	parser, err := kong.New(&c, kong.Vars{"version": version, "roles": strings.Join(roles, ",")}, kong.Configuration(yamlResolver))
	require.NoError(t, err)
	require.NoError(t, kong.Visit(parser.Model, func(n kong.Visitable, next kong.Next) error {
		switch n := n.(type) {
		case *kong.Flag:
			variables = append(variables, n.Envs...)
		case *kong.Command:
			commands = append(commands, n.Name)
		}
		return next(nil)
	}))
	return variables, commands
}

var variableForm = regexp.MustCompile(`\bKAIROS_[A-Z_]+[A-Z]\b`)

// TestDeploymentsNameWhatExists: every variable, command and role that the
// files of deploy/ and the operator's handbook name is one of the command's.
func TestDeploymentsNameWhatExists(t *testing.T) {
	variables, commands := surface(t)
	files := map[string]string{}
	for _, name := range []string{"kairos.env", "compose.yaml", "kubernetes.yaml", "Dockerfile", "systemd/kairos@.service", "systemd/kairos-migrate.service"} {
		files[name] = deployed(t, name)
	}
	handbook, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	files["operations.md"] = string(handbook)
	for name, text := range files {
		for _, v := range variableForm.FindAllString(text, -1) {
			require.Contains(t, variables, v, name)
		}
	}
	for _, found := range regexp.MustCompile("(?:bin/kairos|`kairos) ([a-z]+)").FindAllStringSubmatch(strings.Join([]string{
		files["systemd/kairos@.service"], files["systemd/kairos-migrate.service"], files["operations.md"],
	}, "\n"), -1) {
		require.Contains(t, commands, found[1])
	}

	ran := map[string][]string{}
	for _, doc := range documents(t, files["kubernetes.yaml"]) {
		require.NotEmpty(t, doc["apiVersion"])
		kind := doc["kind"].(string)
		if kind != "Deployment" && kind != "StatefulSet" {
			continue
		}
		pod := doc["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
		require.Greater(t, pod["terminationGracePeriodSeconds"], 40, "than KAIROS_GRACE")
		c := pod["containers"].([]any)[0].(map[string]any)
		require.Equal(t, []any{"serve"}, c["args"])
		for _, e := range c["env"].([]any) {
			if v := e.(map[string]any); v["name"] == "KAIROS_ROLES" {
				ran["kubernetes"] = append(ran["kubernetes"], v["value"].(string))
			}
		}
	}
	compose := documents(t, files["compose.yaml"])
	require.Len(t, compose, 1)
	for name, s := range compose[0]["services"].(map[string]any) {
		env, _ := s.(map[string]any)["environment"].(map[string]any)
		if r, ok := env["KAIROS_ROLES"].(string); ok {
			require.Equal(t, []any{"serve"}, s.(map[string]any)["command"], name)
			ran["compose"] = append(ran["compose"], strings.Split(r, ",")...)
		}
	}
	for where, found := range ran {
		require.ElementsMatch(t, roles, found, "%s runs each role once", where)
	}
	require.Len(t, ran, 2)
	unit := files["systemd/kairos@.service"]
	for _, r := range roles {
		require.Contains(t, unit, "kairos@"+r)
	}
	if _, err := exec.LookPath("systemd-analyze"); err == nil {
		dir := t.TempDir()
		at := filepath.Join(dir, "kairos@.service")
		require.NoError(t, os.WriteFile(at, []byte(strings.ReplaceAll(unit, "/usr/local/bin/kairos", "/bin/true")), 0o600))
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, "kairos@api.service")).CombinedOutput()
		_ = err // it also fails for units of this machine that are not ours
		require.NotContains(t, string(out), "kairos@")
	}
}

var metricForm = regexp.MustCompile(`\bkairos_[a-z_]+[a-z]\b`)

// TestAlarmsNameWhatIsMeasured: every metric of the alarms, and of the
// operator's handbook, is served by a process that has done some work; every
// alarm of the handbook is a rule.
func TestAlarmsNameWhatIsMeasured(t *testing.T) {
	text := deployed(t, "prometheus.rules.yml")
	docs := documents(t, text)
	require.Len(t, docs, 1)
	var alarms []string
	named := map[string]bool{}
	for _, g := range docs[0]["groups"].([]any) {
		for _, r := range g.(map[string]any)["rules"].([]any) {
			rule := r.(map[string]any)
			alarms = append(alarms, rule["alert"].(string))
			require.NotEmpty(t, rule["annotations"].(map[string]any)["summary"], rule["alert"])
			require.Contains(t, []any{"warning", "critical"}, rule["labels"].(map[string]any)["severity"])
			for _, m := range metricForm.FindAllString(rule["expr"].(string), -1) {
				named[m] = true
			}
		}
	}
	handbook, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	for _, m := range metricForm.FindAllString(string(handbook), -1) {
		require.True(t, named[m], "docs/operations.md speaks of %s, no alarm does", m)
	}
	for m := range named {
		require.Contains(t, string(handbook), m, "an alarm that docs/operations.md doesn't explain")
	}
	slices.Sort(alarms)
	require.Equal(t, alarms, slices.Compact(slices.Clone(alarms)), "no alarm twice")

	w, _ := newSMTPWorld(t, deliverytest.SinkOptions{})
	p := w.serve(strings.Join(roles, ","))
	w.audience(20)
	w.until(w.launch(nil), "finished", time.Minute)
	served := metricsOf(t, p.url)
	for m := range named {
		require.Contains(t, served, "\n"+m, "no process serves it")
	}
	if tool, err := exec.LookPath("promtool"); err == nil {
		out, err := exec.Command(tool, "check", "rules", filepath.Join("..", "..", "deploy", "prometheus.rules.yml")).CombinedOutput()
		require.NoError(t, err, "%s", out)
		check := exec.Command(tool, "check", "metrics")
		check.Stdin = bytes.NewBufferString(served[1:])
		out, err = check.CombinedOutput()
		t.Logf("promtool check metrics: %s (%v)", out, err) // it knows rules of style beyond ours
	}
}
