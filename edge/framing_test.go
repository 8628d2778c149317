package edge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

// framed reads through a framing.
type framed struct {
	framing
	from io.Reader
}

func (f *framed) Read(b []byte) (int, error) { return f.read(f.from, b) }

// requestsOf returns the requests that net/http reads, until one that it does not.
func requestsOf(r io.Reader) (all []string, err error) {
	in := bufio.NewReader(r)
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return all, err
		}
		if request.ProtoMajor != 1 {
			return all, errors.New("net/http's server answers 505")
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return all, err
		}
		all = append(all, fmt.Sprintf("%s %s %s %d%v %q %q %q", request.Method, request.RequestURI, request.Proto,
			request.ContentLength, request.TransferEncoding, request.Header, body, request.Trailer))
	}
}

// mended are heads that net/http reads although it might refuse them.
var mended = regexp.MustCompile(`[^\r]\n|^\n|\n[ \t]|(?i:\ntransfer-encoding:[^\x00]*\ncontent-length:|\ncontent-length:[^\x00]*\ntransfer-encoding:)|HTTP/1.0\r\n[^\x00]*\n(?i:transfer-encoding:)`)

// FuzzFraming: the framing agrees with net/http about where requests end. However the bytes
// come in, it gets the requests that net/http reads without it, in their order; fewer only if
// something is in them that is refused; and both end at the same place.
func FuzzFraming(f *testing.F) {
	const get, post = "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"
	for _, s := range []string{
		get + "\r\n", get + "\r\n" + get + "X: a\r\n\r\n", get + "\n", get + "X: a\n\r\n", get + " a\r\n\r\n", "\r\n" + get + "\r\n",
		post + "Content-Length: 5\r\n\r\nhello" + get + "\r\n", post + "Content-Length: 5\r\n\r\na\n b\r\n" + get + "\r\n",
		post + "Content-Length: 0\r\n\r\n\r\n" + get + "\r\n", post + "Content-Length: 18446744073709551621\r\n\r\nhello",
		post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00A;x=y\r\n\n b\n c\n d\n\r\n0\r\n\r\n" + get + "\r\n",
		post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\nContent-Length: 5\r\n\r\n" + get + "\r\n",
		post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", post + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		want, wantErr := requestsOf(bytes.NewReader(sent))
		for how, source := range map[string]io.Reader{
			"whole": bytes.NewReader(sent), "bytes": iotest.OneByteReader(bytes.NewReader(sent)), "halves": iotest.HalfReader(bytes.NewReader(sent)),
		} {
			in := &framed{from: source}
			got, err := requestsOf(in)
			switch all := strings.HasPrefix(strings.Join(want, "\n"), strings.Join(got, "\n")); {
			case !all:
				t.Fatalf("%s: %q reads as %q, without the framing as %q", how, sent, got, want)
			case in.refused && !mended.Match(sent) && wantErr == io.EOF:
				t.Fatalf("%s: %q is refused", how, sent)
			case !in.refused && (len(got) != len(want) || wantErr == io.EOF && (err != io.EOF || in.in != between)):
				t.Fatalf("%s: %q reads as %q, %v, and ends in part %d, without the framing as %q, %v", how, sent, got, err, in.in, want, wantErr)
			}
		}
	})
}
