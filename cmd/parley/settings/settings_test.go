package settings

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

func defaults(t *testing.T) fsm.Settings {
	t.Helper()
	domain, err := mimi.ParseProvider("a.example")
	if err != nil {
		t.Fatal(err)
	}
	return fsm.DefaultSettings(domain)
}

// untouchable are the fields that are no limits.
var untouchable = []string{"Domains", "HubKeys", "Format"}

// TestEveryLimitHasAName changes each field of the settings by itself, and looks for the setting that shows it.
func TestEveryLimitHasAName(t *testing.T) {
	in := defaults(t)
	eachField(t, reflect.ValueOf(&in).Elem(), "", func(name string) {
		for _, s := range All() {
			if s.Value(in) != s.Value(defaults(t)) {
				return
			}
		}
		t.Errorf("no setting shows %s", name)
	})
}

// eachField calls with each field changed, one after the other, and changes it back.
func eachField(t *testing.T, v reflect.Value, prefix string, call func(name string)) {
	t.Helper()
	for i := range v.NumField() {
		field, name := v.Field(i), prefix+v.Type().Field(i).Name
		before := reflect.ValueOf(field.Interface())
		switch field.Kind() {
		case reflect.Struct:
			eachField(t, field, name+".", call)
			continue
		case reflect.Uint8, reflect.Uint32, reflect.Uint64:
			field.SetUint(field.Uint() + 2)
			if field.Kind() == reflect.Uint64 {
				field.SetUint(field.Uint() + 3_600_000) // seen whatever the unit is
			}
		case reflect.Bool:
			field.SetBool(!field.Bool())
		case reflect.Slice:
			if !strings.Contains(strings.Join(untouchable, " "), name) {
				field.Set(reflect.Append(field, reflect.ValueOf(defaults(t).Domains[0])))
			}
		default:
			t.Fatalf("%s is a %s, which this test cannot change", name, field.Kind())
		}
		if !strings.Contains(strings.Join(untouchable, " "), name) {
			call(name)
		}
		field.Set(before)
	}
}

func TestNamesAreUsedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range All() {
		if seen[s.Name] || s.Meaning == "" || s.Name != strings.ToLower(s.Name) {
			t.Errorf("%q: used before, or without a meaning, or not in lower case", s.Name)
		}
		seen[s.Name] = true
	}
}

// TestWhatIsShownCanBeSaid writes every value back as it is shown.
func TestWhatIsShownCanBeSaid(t *testing.T) {
	changed, err := Change(defaults(t), map[string]string{
		"epoch-window": "7", "lease-max": "1m1s", "leave-grace": "1500ms", "key-package-lifetime": "36h", "consent": "provider",
		"claim-window": "12h", "last-resort-for-own": "yes", "outbox-retention": "12h30m", "deletions-to": "b.example,c.example",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []fsm.Settings{defaults(t), changed} {
		values := map[string]string{}
		for _, s := range All() {
			values[s.Name] = s.Value(in)
		}
		out, err := Change(in, values)
		in.Bulk = in.Bulk.InForce()
		if err != nil || cmp.Diff(in, out, cmp.AllowUnexported(mimi.Provider{})) != "" {
			t.Errorf("%v %s", err, cmp.Diff(in, out, cmp.AllowUnexported(mimi.Provider{})))
		}
	}
}

func TestDefaultBringsBack(t *testing.T) {
	values, back := map[string]string{"epoch-window": "7", "receipt-retention": "2h", "client-inboxes": "yes"}, map[string]string{}
	changed, err := Change(defaults(t), values)
	if err != nil {
		t.Fatal(err)
	}
	for name := range values {
		s, _ := Find(name)
		if s.Value(changed) == s.Value(defaults(t)) {
			t.Errorf("%s is not changed", name)
		}
		back[name] = Default
	}
	again, err := Change(changed, back)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range All() {
		if s.Value(again) != s.Value(defaults(t)) {
			t.Errorf("%s is %s", s.Name, s.Value(again))
		}
	}
}

// TestRefusalsNameTheSetting: nothing of a change holds when something of it is refused.
func TestRefusalsNameTheSetting(t *testing.T) {
	for name, test := range map[string]struct {
		values map[string]string
		field  string
		reason string
	}{
		"unknown":               {map[string]string{"epoch-window": "3", "nonsense": "1"}, "nonsense", "no such setting"},
		"no number":             {map[string]string{"epoch-window": "two"}, "epoch-window", "whole number"},
		"a number too high":     {map[string]string{"key-packages-per-client": "10001"}, "key-packages-per-client", "from 1 to 10000"},
		"no length of time":     {map[string]string{"lease-max": "30"}, "lease-max", "length of time"},
		"too many days":         {map[string]string{"claim-window": "31d"}, "claim-window", "between 0s and 30d"},
		"very many days":        {map[string]string{"claim-window": "4000000000d"}, "claim-window", "between"},
		"a negative length":     {map[string]string{"leave-grace": "-1s"}, "leave-grace", "between"},
		"less than a minute":    {map[string]string{"inbox-retention": "59s"}, "inbox-retention", "between 1m"},
		"less than a ms":        {map[string]string{"leave-grace": "1us"}, "leave-grace", "whole milliseconds"},
		"neither yes nor no":    {map[string]string{"client-inboxes": "maybe"}, "client-inboxes", "neither yes nor no"},
		"no policy":             {map[string]string{"consent": "nobody"}, "consent", "ask nor allow"},
		"no domain":             {map[string]string{"deletions-to": "b.example,,c"}, "deletions-to", "domains"},
		"least above default":   {map[string]string{"lease-min": "11s"}, "lease-min", "above lease-default, which is 10s"},
		"default above most":    {map[string]string{"lease-max": "9s", "lease-min": "1s"}, "lease-default", "above lease-max, which is 9s"},
		"room above pair":       {map[string]string{"claims-per-pair": "4"}, "claims-per-room", "above claims-per-pair, which is 4"},
		"mark above the store":  {map[string]string{"low-water": "201"}, "low-water", "above key-packages-per-client, which is 200"},
		"floor above the store": {map[string]string{"key-packages-per-client": "20", "claim-floor": "21"}, "claim-floor", "which is 20"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := Change(defaults(t), test.values)
			var malformed *mls.MalformedError
			if !errors.As(err, &malformed) || malformed.Field != test.field || !strings.Contains(malformed.Reason, test.reason) {
				t.Errorf("%v", err)
			}
			if cmp.Diff(out, defaults(t), cmp.AllowUnexported(mimi.Provider{})) != "" {
				t.Error("something of it holds")
			}
		})
	}
}
