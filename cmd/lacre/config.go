package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"lacre/keypair"
)

// Config is everything `lacre serve` can be told. Each field is a flag, a key of the
// config file and a LACRE_… variable of the same name; flags win over variables,
// variables over the file. Zero values of what is not mentioned choose the default.
type Config struct {
	DataDir       string
	API           string
	Edge          string
	EdgeHTTP      string
	EdgeHTTPProxy bool
	KeepConns     bool
	EdgeProxyFrom []string
	AccessLog     string
	DomainMetrics int
	Instance      string
	Roles         []string
	NodeName      string
	ForgetNode    time.Duration
	MasterKey     string
	OtherKey      string
	StoreQuota    int // GiB

	EtcdEndpoints    []string
	EtcdCA           string
	EtcdCert         string
	EtcdKey          string
	EtcdUser         string
	EtcdPasswordFile string

	APICert     string
	APIKey      string
	APIInsecure bool
	RateLimit   int

	KeystoneURL          string
	KeystoneCA           string
	KeystoneInsecure     bool
	KeystoneUser         string
	KeystonePasswordFile string
	KeystoneUserDomain   string
	KeystoneProject      string
	KeystoneRoles        []string
	KeystoneCache        time.Duration

	TLSMinVersion       string
	UpstreamCA          string
	UpstreamLocal       bool
	TLCPDefault         string
	History             int
	DomainsPerGroup     int
	GroupsPerInstance   int
	InstancesPerProject int
	Certificates        int
	RefuseAfter2038     bool
	AuditDays           int
	DrainTime           time.Duration
	LogLevel            string
	LogFormat           string
}

// flags declares every setting with its default and what it is for.
func (c *Config) flags(f *pflag.FlagSet) {
	f.StringVar(&c.DataDir, "data-dir", "", "directory of the store, the master key and the credentials (mandatory)")
	f.StringVar(&c.API, "api", "127.0.0.1:8080", "address of the certificate API, health and metrics")
	f.StringVar(&c.Edge, "edge", ":8443", "address of the TLS edge")
	f.StringVar(&c.EdgeHTTP, "edge-http", ":8081", "address of the plain HTTP listener, which redirects to HTTPS")
	f.BoolVar(&c.EdgeHTTPProxy, "edge-http-proxy", false, "proxy plain HTTP for the domains that do not redirect it and do not verify clients, instead of refusing it")
	f.StringSliceVar(&c.EdgeProxyFrom, "edge-proxy-from", nil, "addresses or CIDR ranges of load balancers that begin every connection to the edge, TLS or plain, with a PROXY protocol v2 header")
	f.StringVar(&c.AccessLog, "access-log", "", "file that gets a line of JSON for each request at the edge, made anew when it is moved away; - for standard output (default: none)")
	f.IntVar(&c.DomainMetrics, "domain-metrics", 1000, "most domains that have metrics of their own; the others share one series; 0 for none")
	f.BoolVar(&c.KeepConns, "edge-keep-connections", false, "let clients of open connections go on when trust roots or revocation lists change, if they verify under the new ones; without it their requests are refused until they connect again")
	f.StringVar(&c.Instance, "instance", "", "serve the domains of this instance id only (default: all)")
	f.StringSliceVar(&c.Roles, "roles", []string{"api", "edge"}, "what this node does: api, edge")
	f.StringVar(&c.NodeName, "node-name", "", "what this node is called where rollouts are shown (default: the name of the machine)")
	f.DurationVar(&c.ForgetNode, "forget-node-after", 24*time.Hour, "how long a node over an external etcd that did not end in order still counts in rollouts, at least 15m; it may be cut off and go on serving")
	f.StringVar(&c.MasterKey, "master-key", "", "where the master key is: file:PATH, env:NAME or hcvault://HOST/transit/keys/NAME (default file:DATA-DIR/master.key)")
	f.StringVar(&c.OtherKey, "other-master-key", "", "while the master key is being changed, the second one that stored values may be under, in the same forms; they are wrapped again under the one of --master-key")
	f.IntVar(&c.StoreQuota, "store-quota", 8, "GiB that the embedded store may take; at that size it refuses changes until it is started with more")
	f.StringSliceVar(&c.EtcdEndpoints, "etcd-endpoints", nil, "external etcd cluster instead of the embedded one")
	f.StringVar(&c.EtcdCA, "etcd-ca", "", "file with the CA certificates of the external etcd")
	f.StringVar(&c.EtcdCert, "etcd-cert", "", "file with the client certificate for the external etcd; taken up within 5s when it is replaced, with its key")
	f.StringVar(&c.EtcdKey, "etcd-key", "", "file with the client key for the external etcd; taken up like its certificate")
	f.StringVar(&c.EtcdUser, "etcd-user", "", "user of the external etcd")
	f.StringVar(&c.EtcdPasswordFile, "etcd-password-file", "", "file with that user's password")
	f.StringVar(&c.APICert, "api-cert", "", "file with the API's own certificate chain; turns TLS on; taken up within 5s when it is replaced, with its key")
	f.StringVar(&c.APIKey, "api-key", "", "file with the API's own private key; taken up like its certificate")
	f.BoolVar(&c.APIInsecure, "api-insecure", false, "allow the API beyond loopback without TLS")
	f.IntVar(&c.RateLimit, "rate-limit", 10000, "requests a second that one caller may send to the API, twice as many at once; 0 for no limit")
	f.StringVar(&c.KeystoneURL, "keystone-url", "", "take tokens of this OpenStack Keystone (identity API v3) instead of issuing them")
	f.StringVar(&c.KeystoneCA, "keystone-ca", "", "file with CA certificates to trust for Keystone instead of the system's")
	f.BoolVar(&c.KeystoneInsecure, "keystone-insecure", false, "allow a Keystone beyond loopback without TLS")
	f.StringVar(&c.KeystoneUser, "keystone-user", "", "user that validates tokens at Keystone (default: each token validates itself)")
	f.StringVar(&c.KeystonePasswordFile, "keystone-password-file", "", "file with that user's password")
	f.StringVar(&c.KeystoneUserDomain, "keystone-user-domain", "Default", "domain of that user and its project")
	f.StringVar(&c.KeystoneProject, "keystone-project", "service", "project in which that user has its role")
	f.StringSliceVar(&c.KeystoneRoles, "keystone-roles", []string{"admin=admin", "member=operator", "reader=viewer"}, "what roles of Keystone mean here: ROLE=admin, ROLE=operator or ROLE=viewer")
	f.DurationVar(&c.KeystoneCache, "keystone-cache", 30*time.Second, "how long a token of Keystone is believed without asking again, at most 1m")
	f.StringVar(&c.TLSMinVersion, "tls-min-version", "1.2", "lowest TLS version of the edge, whatever a domain allows: 1.2 or 1.3")
	f.StringVar(&c.TLCPDefault, "edge-tlcp-default", "", "host that TLCP clients without a server name are taken to ask for; some SM2 browsers send none (default: they are refused)")
	f.StringVar(&c.UpstreamCA, "upstream-ca", "", "file with CA certificates to trust for https upstreams, besides the system's")
	f.BoolVar(&c.UpstreamLocal, "upstream-loopback", true, "let domains name upstreams on this machine's loopback; switch off where tenants do not trust each other")
	f.IntVar(&c.History, "history", 10, "versions kept of each certificate, 1 to 50")
	f.IntVar(&c.DomainsPerGroup, "domains-per-group", 5, "most domains in one API group, 1 to 15")
	f.IntVar(&c.GroupsPerInstance, "groups-per-instance", 1500, "most API groups in one instance; 0 for no limit")
	f.IntVar(&c.InstancesPerProject, "instances-per-project", 10, "most instances in one project")
	f.IntVar(&c.Certificates, "certificates-per-project", 0, "most certificates in one project, which are then created one after the other; 0 for no limit")
	f.BoolVar(&c.RefuseAfter2038, "refuse-after-2038", false, "refuse certificates that end after 2038-01-19T03:14:07Z, as the cloud does")
	f.IntVar(&c.AuditDays, "audit-days", 400, "days the audit rows are kept")
	f.DurationVar(&c.DrainTime, "drain-time", 20*time.Second, "how long open connections may finish at shutdown")
	f.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", "text", "text or json")
}

// fill completes the flags from the environment and the config file.
func fill(f *pflag.FlagSet, env map[string]string) error {
	f.VisitAll(func(flag *pflag.Flag) { fromEnvironment(f, flag, env) })
	path, err := f.GetString("config")
	if err != nil || path == "" {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the config file: %w", err)
	}
	keys := map[string]any{}
	if err := yaml.Unmarshal(text, &keys); err != nil {
		return usagef("config file %s: %v", path, err)
	}
	for key, value := range keys {
		if err := fromFile(f, key, value); err != nil {
			return usagef("config file %s: %w", path, err)
		}
	}
	return nil
}

// variable is the environment variable of a flag: data-dir is LACRE_DATA_DIR.
func variable(flag string) string {
	return "LACRE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnvironment sets one flag unless it was given. A bad value is kept for validation
// to complain about, with the variable's name.
func fromEnvironment(f *pflag.FlagSet, flag *pflag.Flag, env map[string]string) {
	if value, ok := env[variable(flag.Name)]; ok && !flag.Changed && flag.Name != "help" {
		if err := f.Set(flag.Name, value); err != nil {
			f.SetAnnotation(flag.Name, "bad", []string{variable(flag.Name), value})
		}
	}
}

func fromFile(f *pflag.FlagSet, key string, value any) error {
	flag := f.Lookup(key)
	if flag == nil || key == "help" || key == "config" {
		return fmt.Errorf("unknown key %q", key)
	}
	if flag.Changed {
		return nil
	}
	text, err := plain(value)
	if err == nil {
		err = f.Set(key, text)
	}
	if err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	return nil
}

// plain writes a YAML value as a flag would be given.
func plain(value any) (string, error) {
	switch v := value.(type) {
	case nil, map[string]any:
		return "", errors.New("expected a single value or a list")
	case []any:
		parts := make([]string, len(v))
		for i, part := range v {
			text, err := plain(part)
			if err != nil {
				return "", err
			}
			parts[i] = text
		}
		return strings.Join(parts, ","), nil
	}
	return fmt.Sprint(value), nil
}

// check refuses settings that contradict each other, before anything is touched.
func (c *Config) check(f *pflag.FlagSet) error {
	var bad error
	f.VisitAll(func(flag *pflag.Flag) {
		if why := flag.Annotations["bad"]; why != nil && bad == nil {
			bad = usagef("%s: bad value %q", why[0], why[1])
		}
	})
	switch {
	case bad != nil:
		return bad
	case c.DataDir == "":
		return hinted{usagef("--data-dir is mandatory"), "try 'lacre serve --data-dir ./lacre-data'"}
	case c.TLSMinVersion != "1.2" && c.TLSMinVersion != "1.3":
		return usagef("--tls-min-version: expected 1.2 or 1.3")
	case c.TLCPDefault != "" && !isHost(c.TLCPDefault):
		return usagef("--edge-tlcp-default: expected a host name")
	case c.History < 1 || c.History > 50:
		return usagef("--history: expected 1 to 50")
	case c.DomainsPerGroup < 1 || c.DomainsPerGroup > 15:
		return usagef("--domains-per-group: expected 1 to 15")
	case c.AuditDays < 1 || c.InstancesPerProject < 1:
		return usagef("--audit-days and --instances-per-project: expected at least 1")
	case c.StoreQuota < 1 || c.StoreQuota > 1024:
		return usagef("--store-quota: expected 1 to 1024")
	case c.DomainMetrics < 0:
		return usagef("--domain-metrics: expected 0 or more")
	case c.RateLimit < 0 || c.GroupsPerInstance < 0 || c.Certificates < 0:
		return usagef("--rate-limit, --groups-per-instance and --certificates-per-project: expected 0 or more")
	case (c.APICert == "") != (c.APIKey == ""):
		return usagef("--api-cert and --api-key go together")
	case (c.EtcdCert == "") != (c.EtcdKey == ""):
		return usagef("--etcd-cert and --etcd-key go together")
	case c.ForgetNode < 15*time.Minute:
		return usagef("--forget-node-after: expected at least 15m")
	case c.DrainTime < 0:
		return usagef("--drain-time: expected 0 or more")
	case c.LogFormat != "text" && c.LogFormat != "json":
		return usagef("--log-format: expected text or json")
	}
	_, err := prefixes(c.EdgeProxyFrom)
	return cmp.Or(err, c.checkRoles(), c.checkAddresses(), c.checkExposure(), c.checkMasterKeys(), c.checkKeystone())
}

func (c *Config) checkRoles() error {
	if len(c.Roles) == 0 {
		return usagef("--roles: expected api, edge or both")
	}
	for _, role := range c.Roles {
		if role != "api" && role != "edge" {
			return usagef("--roles: unknown role %q, expected api or edge", role)
		}
	}
	return nil
}

// isHost tells whether a text is a host name that a domain can have, other than a wildcard.
func isHost(text string) bool {
	_, err := keypair.CanonicalHost(text)
	return err == nil && !strings.HasPrefix(text, "*")
}

func (c *Config) has(role string) bool { return slices.Contains(c.Roles, role) }

func (c *Config) checkAddresses() error {
	for flag, address := range map[string]string{"api": c.API, "edge": c.Edge, "edge-http": c.EdgeHTTP} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return usagef("--%s: expected HOST:PORT or :PORT: %v", flag, err)
		}
	}
	return nil
}

// checkExposure keeps tokens and private keys off the network in clear. A node without
// the API shows health and metrics only.
func (c *Config) checkExposure() error {
	host, _, _ := net.SplitHostPort(c.API) // checked above
	if !c.has("api") || c.APICert != "" || c.APIInsecure || isLoopback(host) {
		return nil
	}
	return hinted{
		usagef("--api %s: refusing to take tokens and private keys beyond this machine without TLS", c.API),
		"give --api-cert and --api-key, or say --api-insecure when something in front of it speaks TLS",
	}
}

// readOptional reads a file that need not be there.
func readOptional(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}
