#pragma once

#include <memory>
#include <string>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/kube/rest/api_client.h"
#include "coordinator/kube/rest/rest_client.h"

namespace vmferry::kube {

// A Kubernetes cluster: the one thing that the coordinator opens to work on one.
class Cluster {
 public:
  struct Options {
    // One file or a list with ':'. Empty: $KUBECONFIG, else the pod's own service account, else
    // ~/.kube/config.
    std::string kubeconfig;
    std::string context;  // of the kubeconfig; empty: its current one
    ApiClient::Options api;
  };
  // Reads the configuration; does not talk to the server yet. Errors: NotFound (no configuration),
  // InvalidArgument or PermissionDenied with VMF-K8S-CREDENTIALS.
  static Result<std::unique_ptr<Cluster>> open(const Options& options, const Clock& clock,
                                               const Logger& log);
  Cluster(Access access, const ApiClient::Options& options, const Clock& clock, const Logger& log);

  Reader& reader() { return client_; }
  Writer& writer() { return client_; }
  Discovery& discovery() { return client_.discovery(); }
  ApiClient& api() { return api_; }  // for what is not an object: tokens, versions
  RestClient& client() { return client_; }
  const std::string& ns() const { return ns_; }  // ours, or the context's

 private:
  std::string ns_;
  ApiClient api_;
  RestClient client_;
};

}  // namespace vmferry::kube
