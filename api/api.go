// Package api is the REST face of Lacre: it turns HTTP requests in the shape of the
// Huawei Cloud APIG and ROMA Connect certificate APIs into calls of lacre.Service, and
// its answers and errors back.
//
// It decides nothing about certificates. Types and presence of fields are checked here,
// everything else by the Service.
package api

import (
	"cmp"
	"context"
	_ "embed"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lacre"
)

// Authenticator tells who sent a request. The request it is given has its whole body,
// within the size limit, ready to be read; reading it takes nothing from the handler. Its
// path value project_id is the project that is asked for.
// It is safe for concurrent use. Its error is a *lacre.Error with one of the token
// or signature codes, or CodeIAMUnavailable or an error that wraps lacre.ErrUnavailable
// when it could not find out.
type Authenticator interface {
	Authenticate(r *http.Request) (lacre.Caller, error)
}

// Config is what the API is made of. Service and Auth are mandatory.
type Config struct {
	Service *lacre.Service
	Auth    Authenticator
	// IAM serves /v3/ and /v3.0/; nil answers 404 there.
	IAM http.Handler
	// Ready says why this node cannot serve, for /readyz; nil means that it always can.
	Ready func(ctx context.Context) error
	// Metrics receives the API's own metrics and is what /metrics shows.
	Metrics *prometheus.Registry
	Log     *slog.Logger     // discards when nil
	Now     func() time.Time // measures durations; time.Now when nil
	// MaxBody is the largest request body in bytes; default 1 MiB.
	MaxBody int64
	// BodyTime is how long a client may take to send its body; default 30 s.
	BodyTime time.Duration
	// MaxConcurrent bounds the requests being worked on; default 512. Others wait for
	// QueueTime, default 5 s, and are then told to try again.
	MaxConcurrent int
	// MaxWaiting bounds the requests that wait for other nodes (Prefer: wait); default 256.
	MaxWaiting int
	// Stopping ends when the node is about to stop: nobody waits for other nodes from then on.
	// Nil never does.
	Stopping  context.Context
	QueueTime time.Duration
	// RateLimit is how many requests a second one caller may send to the API, and one
	// address to IAM; twice as many at once. Default 10,000; below 0 there is no limit.
	RateLimit int
	// FailureLimit is how many requests a second of one address are told that they could
	// not be authenticated; twice as many at once. Default 50; below 0 there is no limit.
	FailureLimit int
}

func (c *Config) setDefaults() {
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 1 << 20
	}
	if c.BodyTime <= 0 {
		c.BodyTime = 30 * time.Second
	}
	if c.Stopping == nil {
		c.Stopping = context.Background()
	}
	if c.MaxWaiting <= 0 {
		c.MaxWaiting = 256
	}
	if c.MaxConcurrent <= 0 {
		c.MaxConcurrent = 512
	}
	if c.QueueTime <= 0 {
		c.QueueTime = 5 * time.Second
	}
	c.RateLimit = cmp.Or(c.RateLimit, 10_000)
	c.FailureLimit = cmp.Or(c.FailureLimit, 50)
}

// OpenAPI is the description of this API, in YAML (OpenAPI 3.1), as /openapi.yaml shows it.
//
//go:embed openapi.yaml
var OpenAPI []byte

type server struct {
	Config
	mux     *http.ServeMux
	metrics *metrics
	slots   chan struct{} // one token for each request being worked on
	waiting chan struct{} // one token for each request that waits for other nodes

	callers   *limiter // of requests, by who sent them
	strangers *limiter // of failed authentications, by place
	identify  *limiter // of requests to IAM, by place
}

// New returns the handler of everything the API listener serves. It registers its
// metrics, so a registry can be used for one handler only.
func New(c Config) http.Handler {
	c.setDefaults()
	s := &server{
		Config:  c,
		mux:     http.NewServeMux(),
		metrics: newMetrics(c.Metrics),
		slots:   make(chan struct{}, c.MaxConcurrent),
		waiting: make(chan struct{}, c.MaxWaiting),

		callers: newLimiter(c.RateLimit), strangers: newLimiter(c.FailureLimit), identify: newLimiter(c.RateLimit),
	}
	for _, p := range products {
		for _, route := range routes {
			if route.serves(p) {
				s.mux.Handle(route.method+" "+p.prefix()+route.path, s.operation(p, route))
			}
		}
	}
	s.mux.HandleFunc("GET /healthz", alive)
	s.mux.HandleFunc("GET /readyz", s.ready)
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{}))
	s.mux.HandleFunc("GET /openapi.yaml", document)
	s.mux.HandleFunc("/", s.noRoute)
	if c.IAM != nil {
		s.mux.HandleFunc("/v3", s.identity) // without this line ServeMux would redirect
		s.mux.HandleFunc("/v3/{path...}", s.identity)
		s.mux.HandleFunc("/v3.0/{path...}", s.identity) // access keys, in the cloud's numbering
	}
	return s
}
