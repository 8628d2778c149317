package api

// product is one of the two services that this API stands in for. They share
// operations and records, and differ in a few fields (see shapes.go).
type product string

const (
	apic  product = "apic"  // ROMA Connect
	apigw product = "apigw" // API Gateway, dedicated
)

var products = []product{apic, apigw}

// prefix is the pattern below which a product's operations are.
func (p product) prefix() string { return "/v2/{project_id}/" + string(p) }

// route is one operation, served below each product's prefix.
type route struct {
	method string
	path   string
	serve  func(*exchange) (*reply, error)
	only   product // empty: both
	dryRun bool    // ?dry_run=true is understood
	larger int64   // bytes of body that are accepted where this is more than MaxBody
}

// serves tells whether a product has the operation.
func (r route) serves(p product) bool { return r.only == "" || r.only == p }

const (
	certificatePath = "/certificates/{certificate_id}"
	groupsPath      = "/instances/{instance_id}/api-groups"
	groupPath       = groupsPath + "/{group_id}"
	domainPath      = groupPath + "/domains/{domain_id}"
)

// routes lists every operation of both products. There is no PATCH and no redirect:
// what is not here does not exist.
var routes = []route{
	// The certificates themselves.
	{method: "POST", path: "/certificates", serve: (*exchange).createCertificate, dryRun: true},
	{method: "GET", path: "/certificates", serve: (*exchange).listCertificates},
	{method: "GET", path: certificatePath, serve: (*exchange).showCertificate},
	{method: "PUT", path: certificatePath, serve: (*exchange).modifyCertificate, dryRun: true},
	{method: "DELETE", path: certificatePath, serve: (*exchange).deleteCertificate},
	// Which nodes serve it: an extension.
	{method: "GET", path: certificatePath + "/rollout", serve: (*exchange).rollout},
	// Its earlier versions: an extension.
	{method: "GET", path: certificatePath + "/versions", serve: (*exchange).listVersions},
	{method: "POST", path: certificatePath + "/rollback", serve: (*exchange).rollbackCertificate, dryRun: true},
	// What clients of its domains must not show: an extension.
	{method: "PUT", path: certificatePath + "/crl", serve: (*exchange).putCRL, larger: maxCRLBody},
	{method: "GET", path: certificatePath + "/crl", serve: (*exchange).showCRL},
	{method: "DELETE", path: certificatePath + "/crl", serve: (*exchange).deleteCRL},
	// Bindings as seen from a certificate: by host name, many at once.
	{method: "POST", path: certificatePath + "/domains/attach", serve: (*exchange).attachDomains},
	{method: "POST", path: certificatePath + "/domains/detach", serve: (*exchange).detachDomains},
	{method: "GET", path: certificatePath + "/attached-domains", serve: (*exchange).attachedDomains},

	// What the edge makes of a client: an extension.
	{method: "POST", path: "/explain", serve: (*exchange).explain},

	// Who changed what: an extension.
	{method: "GET", path: "/audit", serve: (*exchange).listAudits},

	// Bindings as seen from a domain; the last three are an older form, still in the SDKs.
	{method: "POST", path: domainPath + "/certificates/attach", serve: (*exchange).attachCertificate},
	{method: "POST", path: domainPath + "/certificates/detach", serve: (*exchange).detachCertificate},
	{method: "POST", path: domainPath + "/certificate", serve: (*exchange).createDomainCertificate},
	{method: "GET", path: domainPath + "/certificate/{certificate_id}", serve: (*exchange).showDomainCertificate},
	{method: "DELETE", path: domainPath + "/certificate/{certificate_id}", serve: (*exchange).removeDomainCertificate},

	// Gateways. What is below them is there for Terraform, which asks in passing.
	{method: "POST", path: "/instances", serve: (*exchange).createInstance},
	{method: "GET", path: "/instances", serve: (*exchange).listInstances},
	{method: "GET", path: "/instances/{instance_id}", serve: (*exchange).showInstance},
	{method: "DELETE", path: "/instances/{instance_id}", serve: (*exchange).deleteInstance},
	{method: "GET", path: "/instances/{instance_id}/env-variables", serve: (*exchange).listVariables},
	{method: "POST", path: "/instances/{instance_id}/env-variables", serve: (*exchange).noVariables},
	{method: "DELETE", path: "/instances/{instance_id}/env-variables/{env_variable_id}", serve: (*exchange).noVariables},
	{method: "GET", path: "/instances/{instance_id}/apis", serve: (*exchange).listAPIs},
	{method: "POST", path: "/instances/{instance_id}/apis/publish", serve: (*exchange).noAPIs},
	{method: "DELETE", path: "/instances/{instance_id}/apis/{api_id}", serve: (*exchange).noAPIs},

	// Groups and the domains in them.
	{method: "POST", path: groupsPath, serve: (*exchange).createGroup},
	{method: "GET", path: groupsPath, serve: (*exchange).listGroups},
	{method: "GET", path: groupPath, serve: (*exchange).showGroup},
	{method: "PUT", path: groupPath, serve: (*exchange).modifyGroup},
	{method: "DELETE", path: groupPath, serve: (*exchange).deleteGroup},
	{method: "PUT", path: groupPath + "/sl-domain-access-settings", serve: (*exchange).setSubdomainAccess, only: apigw},
	{method: "POST", path: groupPath + "/domains", serve: (*exchange).createDomain},
	{method: "PUT", path: domainPath, serve: (*exchange).modifyDomain},
	{method: "DELETE", path: domainPath, serve: (*exchange).deleteDomain},
}
