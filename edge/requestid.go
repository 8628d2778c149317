package edge

import (
	"net/http"

	"lacre"
)

// requestIDHeader carries what a request is called in the logs of all it passes through.
const requestIDHeader = "X-Request-Id"

// longestRequestID is the length of the longest id that is taken from a client.
const longestRequestID = 128

// requestID names the exchange: as the client does, who may want to find it again, or
// anew. It is a name and no evidence.
func (x *exchange) requestID() string {
	if x.id == "" {
		if x.id = given(x.in.Header); x.id == "" {
			x.id = lacre.NewID()
		}
	}
	return x.id
}

// given returns the id that a client gave, if it is one that can be written anywhere.
func given(h http.Header) string {
	ids := h[requestIDHeader]
	if len(ids) != 1 || len(ids[0]) > longestRequestID {
		return ""
	}
	for _, c := range []byte(ids[0]) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' {
			return ""
		}
	}
	return ids[0]
}
