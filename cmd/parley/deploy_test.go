package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"parley/cmd/parley/config"
)

// deployed reads a file of the folder deploy.
func deployed(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// documents are those of a YAML file.
func documents(t *testing.T, name string) (all []map[string]any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(deployed(t, name)))
	decoder.KnownFields(true)
	for {
		var one map[string]any
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, one)
	}
}

// commandExists fails the test where the program does not know a command line, of which words in capitals are left out.
func commandExists(t *testing.T, where string, words []string) {
	t.Helper()
	command, rest, err := newRoot().Find(words)
	if err != nil || command == newRoot() || command.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		t.Errorf("%s: there is no command %q: %v", where, words, err)
		return
	}
	for _, word := range words {
		if name, isFlag := strings.CutPrefix(word, "--"); isFlag {
			name, _, _ = strings.Cut(name, "=")
			if !hasFlag(command, name) {
				t.Errorf("%s: %s has no flag --%s", where, command.CommandPath(), name)
			}
		}
	}
}

func hasFlag(command *cobra.Command, name string) bool {
	return command.Flags().Lookup(name) != nil || command.InheritedFlags().Lookup(name) != nil || name == "help"
}

var written = regexp.MustCompile("`?(?:/usr/local/bin/)?\\bparley ((?:[a-z][a-z-]+ ?)+(?:(?: ?--[a-z-]+(?:[ =][^-`\\s][^`\\s]*)?)| ?[A-Z0-9]\\S*)*)")

// The unit starts a command that there is, by paths that it makes, and knows when it is ready.
func TestSystemdUnit(t *testing.T) {
	section, keys := "", map[string][]string{}
	for number, line := range strings.Split(deployed(t, "systemd/parley.service"), "\n") {
		switch key, value, found := strings.Cut(line, "="); {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = strings.Trim(line, "[]")
		case !found || section == "" || strings.ContainsAny(key, " \t"):
			t.Errorf("line %d: %q", number+1, line)
		default:
			keys[section+"."+key] = append(keys[section+"."+key], value)
		}
	}
	for _, start := range append(keys["Service.ExecStart"], keys["Service.ExecStartPre"]...) {
		words := strings.Fields(start)
		if words[0] != "/usr/local/bin/parley" || !strings.HasPrefix(words[len(words)-1], "/etc/parley/") {
			t.Errorf("%q", start)
		}
		commandExists(t, "parley.service", words[1:])
	}
	for key, want := range map[string]string{
		"Service.Type": "notify", "Service.StateDirectory": "parley", "Service.User": "parley", "Service.Restart": "on-failure", "Service.LimitNOFILE": "65536",
		"Service.ExecReload": "/bin/kill -HUP $MAINPID", "Service.WatchdogSec": "60", "Service.ReadWritePaths": "-/var/backups/parley", "Install.WantedBy": "multi-user.target",
	} {
		if got := keys[key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, not %q", key, got, want)
		}
	}
	for file, starts := range map[string]string{"systemd/parley.sysusers": "u parley ", "systemd/parley.tmpfiles": "d /var/lib/parley 0700 parley parley"} {
		if !strings.Contains(deployed(t, file), "\n"+starts) {
			t.Errorf("%s lacks %q", file, starts)
		}
	}
}

// The manifests are YAML, belong together, and name ports, files, keys and commands that there are.
func TestKubernetesManifests(t *testing.T) {
	var kinds []string
	var set map[string]any
	files, err := filepath.Glob("../../deploy/kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	configured := map[string]any{}
	targets := map[string]bool{}
	for _, file := range files {
		for _, d := range documents(t, "kubernetes/"+filepath.Base(file)) {
			kind, _ := d["kind"].(string)
			kinds = append(kinds, kind)
			switch kind {
			case "StatefulSet":
				set = d
			case "ConfigMap":
				configured = d["data"].(map[string]any)
			case "Service":
				for _, port := range at(d, "spec", "ports").([]any) {
					targets[port.(map[string]any)["targetPort"].(string)] = true
				}
			}
		}
	}
	for _, kind := range []string{"StatefulSet", "ConfigMap", "Service", "PodDisruptionBudget", "NetworkPolicy"} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("there is no %s among %v", kind, kinds)
		}
	}
	container := at(set, "spec", "template", "spec", "containers").([]any)[0].(map[string]any)
	ports := map[string]int{}
	for _, port := range container["ports"].([]any) {
		ports[port.(map[string]any)["name"].(string)] = port.(map[string]any)["containerPort"].(int)
	}
	for target := range targets {
		if ports[target] == 0 {
			t.Errorf("a service leads to the port %q, which no container has", target)
		}
	}
	var args []string
	for _, word := range container["args"].([]any) {
		args = append(args, word.(string))
	}
	commandExists(t, "the container", args)
	probe := at(container, "readinessProbe", "exec", "command").([]any)
	if probe[0] != "/usr/local/bin/parley" || probe[1] != "ready" {
		t.Errorf("readiness is %v", probe)
	}
	for _, variable := range container["env"].([]any) {
		name := variable.(map[string]any)["name"].(string)
		key := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "PARLEY_"), "__", "."))
		if strings.HasPrefix(name, "PARLEY_") && config.Shown(config.Config{})[key] == nil {
			t.Errorf("%s is no key of the configuration", name)
		}
	}
	checkPodConfiguration(t, configured["parley.toml"].(string), ports)
	var book contextBook
	decoder := json.NewDecoder(strings.NewReader(configured["contexts.json"].(string)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&book); err != nil {
		t.Fatal(err)
	}
	if used, known := book.find(book.Current); !known || used.Admin != "https://localhost:7404" {
		t.Errorf("the commands in a pod ask %+v", used)
	}
}

// checkPodConfiguration loads the pods' configuration with their certificates and keys, and compares its ports.
func checkPodConfiguration(t *testing.T, text string, ports map[string]int) {
	t.Helper()
	parsed, err := toml.Parser().Unmarshal([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	shared := sharedFolder(t)
	for _, place := range []string{"/etc/parley-web/tls.crt", "/etc/parley-admin/tls.crt"} {
		text = strings.ReplaceAll(text, place, shared+"/web.pem")
	}
	for _, place := range []string{"/etc/parley-web/tls.key", "/etc/parley-admin/tls.key"} {
		text = strings.ReplaceAll(text, place, shared+"/web.key")
	}
	text = strings.NewReplacer("/etc/parley-admin/ca.crt", shared+"/ca.pem", "/etc/parley-secrets", shared, "/var/lib/parley", shared).Replace(text)
	path := filepath.Join(shared, "pod.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PARLEY_CLUSTER__ADVERTISE", "parley-0.parley-nodes:7400")
	if _, err := config.Load(path); err != nil {
		t.Error(err)
	}
	for section, port := range map[string]string{"peer": "peer", "local": "local", "admin": "admin", "cluster": "cluster"} {
		listen := at(parsed, section, "listen").(string)
		if want := portOf(ports[port]); !strings.HasSuffix(listen, want) {
			t.Errorf("%s.listen is %s, and the container's port %s", section, listen, want)
		}
	}
	if gossip := at(parsed, "cluster", "gossip").(string); !strings.HasSuffix(gossip, portOf(ports["gossip"])) || ports["gossip"] != ports["gossip-udp"] {
		t.Errorf("cluster.gossip is %s, ports %v", gossip, ports)
	}
}

func portOf(port int) string { return ":" + strconv.Itoa(port) }

// at walks into nested maps.
func at(d map[string]any, path ...string) any {
	var here any = d
	for _, step := range path {
		here = here.(map[string]any)[step]
	}
	return here
}

// The image runs the program that it builds, as nobody.
func TestDockerfile(t *testing.T) {
	text := deployed(t, "Dockerfile")
	for _, line := range []string{
		"FROM gcr.io/distroless/static-debian12:nonroot", "USER 65532:65532", `ENTRYPOINT ["/usr/local/bin/parley"]`, "-X main.version=${VERSION}", "CGO_ENABLED=0",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("it lacks %q", line)
		}
	}
	_, command, _ := strings.Cut(text, "\nCMD ")
	var words []string
	if err := json.Unmarshal([]byte(strings.TrimSpace(command)), &words); err != nil {
		t.Fatal(err)
	}
	commandExists(t, "Dockerfile", words)
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`)
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "FROM golang:" + string(goVersion.FindSubmatch(mod)[1]); !strings.Contains(text, want) {
		t.Errorf("it is not built by %q", want)
	}
}

// metricNames are those that docs/metrics.md describes, which another test holds to the program, with what a histogram adds.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{
		"up": true, "process_resident_memory_bytes": true, "process_cpu_seconds_total": true,
	}
	for _, row := range strings.Split(string(text), "\n") {
		cells := strings.Split(row, "|")
		if len(cells) < 3 {
			continue
		}
		name := strings.Trim(cells[1], " `")
		names[name] = true
		if strings.HasSuffix(name, "_seconds") {
			names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = true, true, true
		}
	}
	return names
}

// What in PromQL is a name and no metric's.
var promqlWords = strings.Fields(`sum max min count rate increase histogram_quantile abs time vector label_replace by on unless and or without le job shard
	instance destination hub peer listener code result version`)

var promqlName = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)

// checkQuery finds names in a query that no metric has, and brackets that do not fit.
func checkQuery(t *testing.T, where, query string, known map[string]bool) {
	t.Helper()
	bare := regexp.MustCompile(`"[^"]*"|\{[^}]*\}|\[[0-9]+[smhd]\]|\$\w+`).ReplaceAllString(query, " ")
	metrics := 0
	for _, name := range promqlName.FindAllString(bare, -1) {
		switch {
		case known[name]:
			metrics++
		case !slices.Contains(promqlWords, name):
			t.Errorf("%s: %q is no metric: %s", where, name, query)
		}
	}
	if metrics == 0 || strings.Count(query, "(") != strings.Count(query, ")") || strings.Count(query, "{") != strings.Count(query, "}") ||
		strings.Count(query, "[") != strings.Count(query, "]") {
		t.Errorf("%s: %q is no query", where, query)
	}
}

// Each alert asks for metrics that there are, and has its section in the runbooks.
func TestAlerts(t *testing.T) {
	runbooks, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	known, names := metricNames(t), map[string]bool{}
	for _, group := range documents(t, "prometheus/alerts.yaml")[0]["groups"].([]any) {
		for _, rule := range group.(map[string]any)["rules"].([]any) {
			r := rule.(map[string]any)
			name := r["alert"].(string)
			if names[name] {
				t.Errorf("%s is there twice", name)
			}
			names[name] = true
			checkQuery(t, name, r["expr"].(string), known)
			if runbook := at(r, "annotations", "runbook"); runbook != "docs/operations.md#"+strings.ToLower(name) || !bytes.Contains(runbooks, []byte("\n#### "+name+"\n")) {
				t.Errorf("%s has no runbook: %v", name, runbook)
			}
			if severity := at(r, "labels", "severity"); severity != "critical" && severity != "warning" || at(r, "annotations", "summary") == nil || r["for"] == nil {
				t.Errorf("%s: %v", name, r)
			}
		}
	}
	for _, heading := range regexp.MustCompile(`(?m)^#### (Parley\w+)$`).FindAllSubmatch(runbooks, -1) {
		if !names[string(heading[1])] {
			t.Errorf("docs/operations.md has a section on %s, which is no alert", heading[1])
		}
	}
}

// Each panel asks for metrics that there are.
func TestDashboard(t *testing.T) {
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(deployed(t, "grafana/parley.json")), &board); err != nil {
		t.Fatal(err)
	}
	known, ids := metricNames(t), map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %d, %s", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			checkQuery(t, p.Title, target.Expr, known)
		}
	}
}

// Every command that the operator's documents name is one that there is, with its flags.
func TestDocumentedCommands(t *testing.T) {
	var handbook []string
	for _, name := range []string{"operations", "nodes", "resizing", "quorum-loss", "scenarios"} {
		handbook = append(handbook, "../../docs/"+name+".md")
	}
	for _, name := range append(handbook, "../../README.md", "../../deploy/README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, match := range written.FindAllStringSubmatch(string(text), -1) {
			words := strings.Fields(match[1])
			if known, _, err := newRoot().Find(words[:1]); err != nil || known.Name() != words[0] {
				continue // prose
			}
			found++
			commandExists(t, filepath.Base(name), words)
		}
		if found == 0 {
			t.Errorf("%s names no command", name)
		}
	}
}
