package test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestRefusalsOfTheServer sends what no client here can: the form of an error is the same
// when the request does not even get as far as a route.
func TestRefusalsOfTheServer(t *testing.T) {
	t.Parallel()
	l := start(t)
	for _, row := range []struct {
		sent   string
		status int
		code   string
	}{
		{"OPTIONS * HTTP/1.1\r\nHost: lacre\r\n\r\n", 404, "APIGW.0101"},
		{"GET * HTTP/1.1\r\nHost: lacre\r\n\r\n", 404, "APIGW.0101"},
		{"CONNECT lacre:443 HTTP/1.1\r\nHost: lacre\r\n\r\n", 404, "APIGW.0101"},
		{"GET /" + strings.Repeat("a", 40<<10) + " HTTP/1.1\r\nHost: lacre\r\n\r\n", 414, "APIGW.0201"},
		{"GET / HTTP/1.1\r\nHost: lacre\r\nX-Some: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", 431, "APIGW.0201"},
	} {
		answer, body := exchange(t, l.URL, row.sent)
		var refused struct {
			Code    string `json:"error_code"`
			Message string `json:"error_msg"`
			ID      string `json:"request_id"`
		}
		err := json.Unmarshal(body, &refused)
		if err != nil || answer.StatusCode != row.status || refused.Code != row.code || refused.Message == "" ||
			refused.ID == "" || refused.ID != answer.Header.Get("X-Request-Id") ||
			answer.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%.20q: got %s %v %s, want %d %s in JSON with a request id", row.sent, answer.Status, answer.Header, body, row.status, row.code)
		}
	}
}

// exchange sends a request as it is and reads the answer.
func exchange(t *testing.T, base, sent string) (*http.Response, []byte) {
	t.Helper()
	address, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("reading the answer to %.20q: %v", sent, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, body
}
