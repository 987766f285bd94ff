#pragma once

#include <memory>
#include <string>

#include "common/clock.h"
#include "common/log.h"
#include "common/tls_trust.h"
#include "coordinator/kube/rest/credentials.h"

namespace vmferry::kube {

// Where an API server is and how we prove who we are.
struct Access {
  std::string server;  // "https://host:6443", without a slash at its end
  TlsTrust trust;
  std::string tls_server_name;  // the name in its certificate, when that is not the URL's host
  std::shared_ptr<Credentials> credentials;
  std::string ns = "default";  // of what is asked without a namespace
};

// What the environment gives to a pod (KUBERNETES_SERVICE_HOST and _PORT, and its service
// account's token, ca.crt and namespace below `account_folder`). The token is read again as it
// rotates. NotFound outside of a cluster.
inline constexpr const char* kAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";
Result<Access> in_cluster_access(const Clock& clock,
                                 const std::string& account_folder = kAccountFolder);

struct KubeconfigOptions {
  std::string files;    // one path, or several with ':' between, the first to say something wins
  std::string context;  // empty: current-context
};
// Reads kubeconfig files as kubectl does. Understands certificate-authority, client-certificate and
// client-key by file (from the kubeconfig's folder) and inline, token, tokenFile, username and
// password, exec plugins (v1, v1beta1), tls-server-name. insecure-skip-tls-verify and proxy-url are
// refused. Errors: NotFound (no file), InvalidArgument with VMF-K8S-CREDENTIALS naming file and
// key.
Result<Access> kubeconfig_access(const KubeconfigOptions& options, const Clock& clock,
                                 const Logger& log);

}  // namespace vmferry::kube
