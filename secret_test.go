package lacre_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"lacre"
)

const clearText = "hunter2 MIIEvQ"

func TestSecretIsNeverPrinted(t *testing.T) {
	secret := lacre.Secret(clearText)
	holders := map[string]any{
		"the secret":  secret,
		"its address": &secret,
		"a struct":    lacre.CertificateInput{PrivateKey: secret, PrivateKeySign: secret},
		"a pointer":   &lacre.CertificateInput{PrivateKey: secret, PrivateKeySign: secret},
		"a slice":     []lacre.Secret{secret},
		"a map":       map[string]lacre.Secret{"key": secret},
		"an error":    fmt.Errorf("uploading %v", secret),
	}
	for name, holder := range holders {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%e", "%c", "%U"} {
			if got := fmt.Sprintf(verb, holder); leaks(got) {
				t.Errorf("%s printed with %s: got %q, want no part of the secret", name, verb, got)
			}
		}
		if got := fmt.Sprint(holder) + fmt.Sprintln(holder); leaks(got) {
			t.Errorf("%s printed: got %q, want no part of the secret", name, got)
		}
	}
	if got := secret.String(); leaks(got) || got == "" {
		t.Errorf("String: got %q, want a placeholder", got)
	}
}

func TestSecretIsNeverLogged(t *testing.T) {
	secret := lacre.Secret(clearText)
	var out bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		log := slog.New(handler)
		log.Info("uploaded", "secret", secret, "address", &secret, "list", []lacre.Secret{secret},
			"input", lacre.CertificateInput{Name: "shown", PrivateKey: secret}, slog.Group("in", "key", secret))
		log.Info(fmt.Sprint("uploaded ", secret))
	}
	if leaks(out.String()) {
		t.Errorf("got %s, want no part of the secret", out.String())
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Errorf("got %s, want a placeholder", out.String())
	}
}

// leaks looks for the secret as text and as hexadecimal digits.
func leaks(s string) bool {
	s = strings.ToLower(s)
	return strings.Contains(s, "hunter2") || strings.Contains(s, "miievq") ||
		strings.Contains(s, fmt.Sprintf("%x", "hunter2"))
}

func TestSecretIsNeverMarshalled(t *testing.T) {
	secret := lacre.Secret(clearText)
	for name, v := range map[string]any{
		"the secret": secret, "its address": &secret,
		"a struct": lacre.CertificateInput{PrivateKey: secret},
	} {
		if got, err := json.Marshal(v); err == nil || leaks(string(got)) || leaks(err.Error()) {
			t.Errorf("JSON of %s: got %q, %v, want an error without the secret", name, got, err)
		}
	}
	if got, err := xml.Marshal(secret); err == nil || leaks(string(got)) || leaks(err.Error()) {
		t.Errorf("XML: got %q, %v, want an error without the secret", got, err)
	}
}

func TestSecretReadsFromJSON(t *testing.T) {
	var body struct{ Key, None, Null lacre.Secret }
	if err := json.Unmarshal([]byte(`{"key":"hunter2\nMIIEvQ","null":null}`), &body); err != nil {
		t.Fatal(err)
	}
	if got, want := string(body.Key), "hunter2\nMIIEvQ"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if body.None != "" || body.Null != "" {
		t.Errorf("got %d and %d bytes for absent and null, want none", len(body.None), len(body.Null))
	}
	if err := json.Unmarshal([]byte(`{"key":["hunter2"]}`), &body); err == nil || leaks(err.Error()) {
		t.Errorf("a list: got %v, want an error without the secret", err)
	}
}
