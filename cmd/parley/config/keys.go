package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
)

// keys lists every key of the file, "cluster.listen", in the order of the Config type.
func keys() []string { return keysOf(reflect.TypeFor[Config](), "") }

func keysOf(t reflect.Type, prefix string) []string {
	var all []string
	for i := range t.NumField() {
		field := t.Field(i)
		key := prefix + field.Tag.Get("koanf")
		if field.Type.Kind() == reflect.Struct {
			all = append(all, keysOf(field.Type, key+".")...)
		} else {
			all = append(all, key)
		}
	}
	return all
}

// value is a key's value in a configuration.
func value(c Config, key string) any {
	v := reflect.ValueOf(c)
	for part := range strings.SplitSeq(key, ".") {
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("koanf") == part {
				v = v.Field(i)
				break
			}
		}
	}
	return v.Interface()
}

// Changed lists the keys in which two configurations differ, in the order of the Config type.
func Changed(a, b Config) (changed []string) {
	for _, key := range keys() {
		if !reflect.DeepEqual(value(a, key), value(b, key)) {
			changed = append(changed, key)
		}
	}
	return changed
}

// Shown is the configuration by key, for whoever is asked for help: files by their names, never what is in them, and of commands the
// program alone, since a secret may stand among its arguments.
func Shown(c Config) map[string]any {
	shown := make(map[string]any)
	for _, key := range keys() {
		shown[key] = value(c, key)
	}
	if command := c.Cluster.SealCommand; len(command) > 1 {
		shown["cluster.seal_key_command"] = []string{command[0], "(arguments are not shown)"}
	}
	return shown
}

func refuseUnknown(k *koanf.Koanf) error {
	known := keys()
	var unknown []string
	for _, key := range k.Keys() {
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	var wrong []error
	for _, key := range unknown {
		wrong = append(wrong, fmt.Errorf("%s is no key that there is%s", key, meant(key, known)))
	}
	return errors.Join(wrong...)
}

// meant names a key that is spelt nearly so.
func meant(key string, known []string) string {
	for _, other := range known {
		if near(key, other) {
			return fmt.Sprintf("; %s is", other)
		}
	}
	return ""
}

// near reports whether two words differ by a letter or two that are wrong, too many, missing or exchanged.
func near(a, b string) bool {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, before+cost)
		}
	}
	return row[len(b)] <= 2
}
