#include "coordinator/cluster/http_endpoint.h"

#include <httplib.h>

#include <charconv>
#include <thread>

namespace vmferry::cluster {

struct HttpEndpoint::Impl {
  Handlers handlers;
  httplib::Server server;
  int port = 0;
  std::jthread thread;
};

namespace {

constexpr std::size_t kThreads = 2;  // kubelet and Prometheus

struct Place {
  std::string host;
  int port = 0;
};

Result<Place> place_of(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  Place place;
  if (colon != std::string::npos) {
    place.host = address.substr(0, colon);
    const char* const end = address.data() + address.size();
    const auto [rest, failure] = std::from_chars(address.data() + colon + 1, end, place.port);
    const bool valid = failure == std::errc() && rest == end && place.port >= 0 &&
                       place.port <= 65535 && !place.host.empty();
    if (valid) return place;
  }
  return make_error(ErrorKind::InvalidArgument, "'{}' is no address such as 0.0.0.0:8080", address);
}

void answer(httplib::Response& response, const std::optional<std::string>& wrong) {
  if (wrong) response.status = 503;
  response.set_content(wrong ? *wrong + "\n" : "ok\n", "text/plain");
}

}  // namespace

HttpEndpoint::HttpEndpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpEndpoint::~HttpEndpoint() {
  impl_->server.stop();
  impl_->thread.join();
}

int HttpEndpoint::port() const { return impl_->port; }

Result<std::unique_ptr<HttpEndpoint>> HttpEndpoint::start(const std::string& address,
                                                          Handlers handlers, const Logger& log) {
  const Place place = TRY(place_of(address));
  auto impl = std::make_unique<Impl>();
  impl->handlers = std::move(handlers);
  const Handlers& all = impl->handlers;
  httplib::Server& server = impl->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_payload_max_length(1024);
  server.set_read_timeout(std::chrono::seconds(5));
  server.set_keep_alive_timeout(5);
  server.Get("/healthz", [&all](const httplib::Request&, httplib::Response& response) {
    answer(response, all.unhealthy());
  });
  server.Get("/readyz", [&all](const httplib::Request&, httplib::Response& response) {
    answer(response, all.unready());
  });
  server.Get("/metrics", [&all](const httplib::Request&, httplib::Response& response) {
    response.set_content(all.metrics(), "text/plain; version=0.0.4");
  });
  impl->port = place.port == 0 ? server.bind_to_any_port(place.host)
                               : (server.bind_to_port(place.host, place.port) ? place.port : -1);
  if (impl->port <= 0) {
    return make_error(ErrorKind::Unavailable, "cannot listen on '{}' for probes and metrics",
                      address);
  }
  impl->thread = std::jthread([&server] { server.listen_after_bind(); });
  log.info("probes and metrics", {{"address", fmt::format("{}:{}", place.host, impl->port)}});
  return std::unique_ptr<HttpEndpoint>(new HttpEndpoint(std::move(impl)));
}

}  // namespace vmferry::cluster
