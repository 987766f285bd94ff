#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/result.h"
#include "common/secret.h"

namespace vmferry::kube {

// What a request proves its sender with: an Authorization header, a client certificate, or both.
struct Credential {
  SecretString authorization;  // the header's value
  std::string certificate_pem;
  SecretString key_pem;
  std::uint64_t generation = 0;  // another number: another credential
};

// Where credentials come from. Thread-safe.
class Credentials {
 public:
  virtual ~Credentials() = default;
  // The one to use now. Errors: PermissionDenied with VMF-K8S-CREDENTIALS when none can be had.
  virtual Result<Credential> current(std::stop_token stop) = 0;
  // The server refused that one (401): the next current() looks for a newer one. True when that
  // can give another.
  virtual bool refused(std::uint64_t generation) = 0;
};

// Never changes.
class FixedCredentials final : public Credentials {
 public:
  explicit FixedCredentials(Credential credential) : credential_(std::move(credential)) {}
  Result<Credential> current(std::stop_token) override { return credential_; }
  bool refused(std::uint64_t) override { return false; }

 private:
  Credential credential_;
};

// A bearer token in a file that somebody replaces before it expires: the kubelet does at 80 % of
// its life. Read again every minute, and when refused. `base` holds what else is sent.
class TokenFile final : public Credentials {
 public:
  TokenFile(std::string path, Credential base, const Clock& clock)
      : path_(std::move(path)), base_(std::move(base)), clock_(clock) {}
  Result<Credential> current(std::stop_token stop) override;
  bool refused(std::uint64_t generation) override;

 private:
  struct State {
    Credential credential;
    SteadyTime read_at{};
    bool stale = true;
  };
  std::string path_;
  Credential base_;
  const Clock& clock_;
  Guarded<State> state_;
};

// "Bearer <token>"; InvalidArgument when the token holds what no header may.
Result<SecretString> bearer_authorization(const std::string& token);

}  // namespace vmferry::kube
