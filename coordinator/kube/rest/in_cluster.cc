#include <cstdlib>

#include "common/catalogue.h"
#include "common/fd.h"
#include "coordinator/kube/rest/access.h"

namespace vmferry::kube {

Result<Access> in_cluster_access(const Clock& clock, const std::string& account_folder) {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || *host == '\0' || port == nullptr || *port == '\0') {
    return coded_error(ErrorKind::NotFound, code::kClusterCredentials,
                       "not in a cluster: KUBERNETES_SERVICE_HOST and _PORT are not set");
  }
  const bool is_ipv6 = std::string_view(host).find(':') != std::string_view::npos;
  Access access;
  const std::string name = is_ipv6 ? fmt::format("[{}]", host) : host;
  access.server = fmt::format("https://{}:{}", name, port);
  const std::string ca = TRY(read_file(account_folder + "/ca.crt"));
  access.trust.ca_pem = TRY(parse_ca_certificates(ca));
  access.credentials = std::make_shared<TokenFile>(account_folder + "/token", Credential{}, clock);
  TRY(access.credentials->current({}));  // told at start rather than at the first request
  if (auto ns = read_file(account_folder + "/namespace")) {
    access.ns = ns->substr(0, ns->find_last_not_of(" \r\n") + 1);
  }
  return access;
}

}  // namespace vmferry::kube
