package iam

import (
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"lacre"
)

// ServeHTTP answers the identity calls under /v3/ and /v3.0/.
func (a *IAM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, longestBody)
	a.mux.ServeHTTP(w, r)
}

// routes are the calls that the official clients make. The last one keeps the error form
// for everything else, a known path with another method included.
func (a *IAM) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/auth/tokens", a.answering(a.createToken))
	mux.HandleFunc("GET /v3/auth/tokens", a.answering(a.showToken))
	mux.HandleFunc("DELETE /v3/auth/tokens", a.answering(a.revokeToken))
	mux.HandleFunc("GET /v3/projects", a.answering(a.listProjects))
	mux.HandleFunc("GET /v3/auth/domains", a.answering(a.listAccounts))
	mux.HandleFunc("GET /v3/users", a.answering(a.listUsers))
	a.administration(mux)
	a.credentials(mux)
	mux.HandleFunc("/", a.answering(func(http.ResponseWriter, *http.Request) error {
		return lacre.Errorf(lacre.CodeRouteNotFound, "There is no such call")
	}))
	return mux
}

// answering gives every answer a request id, unless the listener before gave it one, and
// turns an error into IAM's form of it.
func (a *IAM) answering(answer func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := cmp.Or(w.Header().Get("X-Request-Id"), lacre.NewID())
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("Cache-Control", "no-store")
		err := answer(w, r)
		if err == nil {
			return
		}
		status := statusOf(err)
		a.log.LogAttrs(r.Context(), levelOf(status), "identity call refused", slog.Int("status", status),
			slog.String("method", r.Method), slog.String("route", r.Pattern), slog.String("source", sourceOf(r)),
			slog.String("request_id", id), slog.Any("err", err))
		writeError(w, status, err)
	}
}

// levelOf lets an operator watch for guessed passwords without reading every typing error.
func levelOf(status int) slog.Level {
	switch {
	case status >= 500:
		return slog.LevelError
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// statusOf gives each code its HTTP status. What has no code is our fault.
func statusOf(err error) int {
	switch lacre.CodeOf(err) {
	case lacre.CodeMalformed, lacre.CodeMissing, lacre.CodeInvalidField, lacre.CodeInvalidParameter:
		return http.StatusBadRequest
	case codeSignIn, lacre.CodeTokenMissing, lacre.CodeTokenExpired, lacre.CodeTokenInvalid,
		lacre.CodeSignature, lacre.CodeSignatureExpired, lacre.CodeKeyUnknown, lacre.CodeKeyLocked:
		return http.StatusUnauthorized
	case lacre.CodeForbidden:
		return http.StatusForbidden
	case lacre.CodeRouteNotFound, codeNoSubject, codeNotFound:
		return http.StatusNotFound
	case codeConflict, lacre.CodeContended:
		return http.StatusConflict
	case lacre.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeBusy:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// writeError answers {"error":{"code":401,"message":"…","title":"Unauthorized"}}. The
// text of an internal error stays in the log.
func writeError(w http.ResponseWriter, status int, err error) {
	type problem struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Title   string `json:"title"`
	}
	message := "The request could not be answered. Its request id leads to the reason in the log."
	if status < 500 || status == http.StatusServiceUnavailable {
		message = messageOf(err)
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	writeJSON(w, status, map[string]problem{"error": {status, message, http.StatusText(status)}})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // what fails here is the connection: nobody is left to tell
}

// messageOf is what err may tell its sender: the message, with the field it is about.
func messageOf(err error) string {
	e, ok := errors.AsType[*lacre.Error](err)
	switch {
	case !ok:
		return ""
	case e.Field != "":
		return e.Field + ": " + e.Message
	}
	return e.Message
}
