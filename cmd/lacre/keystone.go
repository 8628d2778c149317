package main

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"lacre"
	"lacre/iam"
)

// checkKeystone refuses what could not work, and tokens or a password on the network in
// clear.
func (c *Config) checkKeystone() error {
	if c.KeystoneURL == "" {
		if c.KeystoneCA != "" || c.KeystoneUser != "" || c.KeystonePasswordFile != "" || c.KeystoneInsecure {
			return usagef("--keystone-ca, --keystone-user, --keystone-password-file and --keystone-insecure need --keystone-url")
		}
		return nil
	}
	u, err := url.Parse(c.KeystoneURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https":
		return usagef("--keystone-url: expected a URL such as https://keystone.internal:5000/v3")
	case u.Scheme == "http" && !isLoopback(u.Hostname()) && !c.KeystoneInsecure:
		return hinted{usagef("--keystone-url: refusing to send tokens beyond this machine without TLS"),
			"give an https URL, or say --keystone-insecure when something else protects the way there"}
	case (c.KeystoneUser == "") != (c.KeystonePasswordFile == ""):
		return usagef("--keystone-user and --keystone-password-file go together")
	case c.KeystoneCache <= 0 || c.KeystoneCache > iam.LongestKeystoneCache:
		return usagef("--keystone-cache: expected up to %v", iam.LongestKeystoneCache)
	}
	_, err = c.keystoneRoles()
	return err
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// keystoneRoles reads pairs such as member=operator.
func (c *Config) keystoneRoles() (map[string]lacre.Role, error) {
	roles := map[string]lacre.Role{}
	for _, pair := range c.KeystoneRoles {
		theirs, ours, _ := strings.Cut(pair, "=")
		if theirs == "" || !lacre.Role(ours).Known() {
			return nil, usagef("--keystone-roles: %q: expected ROLE=admin, ROLE=operator or ROLE=viewer", pair)
		}
		roles[theirs] = lacre.Role(ours)
	}
	return roles, nil
}

// makeKeystone puts an outside Keystone in the place of our IAM. There is nothing to
// bootstrap: users, projects and roles are Keystone's.
func (n *node) makeKeystone() error {
	roles, err := n.cfg.keystoneRoles()
	if err != nil {
		return err
	}
	cfg := iam.KeystoneConfig{
		URL: n.cfg.KeystoneURL, Roles: roles, User: n.cfg.KeystoneUser, UserDomain: n.cfg.KeystoneUserDomain,
		Project: n.cfg.KeystoneProject, Projects: n.store, Cache: n.cfg.KeystoneCache, Now: n.now, Log: n.log,
	}
	if n.cfg.KeystoneCA != "" {
		if cfg.RootCAs, err = readPool(x509.NewCertPool(), n.cfg.KeystoneCA); err != nil {
			return err
		}
	}
	if n.cfg.KeystonePasswordFile != "" {
		text, err := os.ReadFile(n.cfg.KeystonePasswordFile)
		if err != nil {
			return fmt.Errorf("reading --keystone-password-file: %w", err)
		}
		cfg.Password = lacre.Secret(strings.TrimRight(string(text), "\r\n"))
	}
	k, err := iam.NewKeystone(cfg)
	if err != nil {
		return err
	}
	n.auth, n.identity = k, k
	return nil
}
