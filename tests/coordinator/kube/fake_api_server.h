#pragma once

#include <httplib.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/kube/rest/cluster.h"

namespace vmferry::kube {

// A small lying API server on loopback, without TLS: answers what the test's script says, request
// by request, and remembers what was asked.
class FakeApiServer {
 public:
  using Handler = std::function<void(const httplib::Request&, httplib::Response&, int number)>;
  explicit FakeApiServer(Handler handler) : handler_(std::move(handler)) {
    const auto serve = [this](const httplib::Request& request, httplib::Response& response) {
      int number = 0;
      {
        const std::lock_guard lock(mutex_);
        asked_.push_back(request.method + " " + request.target);
        bodies_.push_back(request.body);
        number = static_cast<int>(asked_.size());
      }
      handler_(request, response, number);
    };
    server_.Get(".*", serve);
    server_.Post(".*", serve);
    server_.Patch(".*", serve);
    server_.Delete(".*", serve);
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::jthread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~FakeApiServer() { server_.stop(); }
  FakeApiServer(const FakeApiServer&) = delete;
  FakeApiServer& operator=(const FakeApiServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<std::string> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  std::vector<std::string> bodies() const {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }
  Access access(Credential credential = {}) const {
    Access access;
    access.server = url();
    access.credentials = std::make_shared<FixedCredentials>(std::move(credential));
    return access;
  }

 private:
  Handler handler_;
  httplib::Server server_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> asked_;
  std::vector<std::string> bodies_;
  std::jthread thread_;
};

inline void answer(httplib::Response& response, int status, const nlohmann::json& body) {
  response.status = status;
  response.set_content(body.dump(), "application/json");
}

inline nlohmann::json status_body(int code, const std::string& reason, const std::string& message) {
  return {{"kind", "Status"},   {"apiVersion", "v1"}, {"status", "Failure"},
          {"message", message}, {"reason", reason},   {"code", code}};
}

}  // namespace vmferry::kube
