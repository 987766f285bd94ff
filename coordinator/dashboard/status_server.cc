#include "coordinator/dashboard/status_server.h"

#include <httplib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include <nlohmann/json.hpp>

#include "common/bytes.h"
#include "coordinator/dashboard/views.h"

namespace vmferry::dashboard {

struct StatusServer::Impl {
  std::string path;
  httplib::Server server;
  std::jthread thread;
};

namespace {

void send(httplib::Response& response, const nlohmann::json& json) {
  response.set_content(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
                       "application/json");
}

}  // namespace

StatusServer::StatusServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

StatusServer::~StatusServer() {
  impl_->server.stop();
  impl_->thread.join();
  ::unlink(impl_->path.c_str());
}

Result<std::unique_ptr<StatusServer>> StatusServer::start(const std::string& socket_path,
                                                          Fleet& fleet, const Logger& log) {
  auto impl = std::make_unique<Impl>();
  impl->path = socket_path;
  httplib::Server& server = impl->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(4); };
  server.set_payload_max_length(4096);
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  server.Get("/v1/transfers", [&fleet](const httplib::Request&, httplib::Response& response) {
    send(response, to_json(fleet.transfers()));
  });
  server.Get("/v1/agents", [&fleet](const httplib::Request&, httplib::Response& response) {
    send(response, to_json(fleet.agents()));
  });
  server.Put("/v1/limit",
             [&fleet, log](const httplib::Request& request, httplib::Response& response) {
               const auto limit = parse_size(request.get_param_value("bytes_per_second"));
               if (!limit) {
                 response.status = 400;
                 response.set_content(limit.error().message() + "\n", "text/plain");
                 return;
               }
               fleet.set_agent_limit(*limit);
               log.info("bandwidth limit of every agent changed", {{"bytes", *limit}});
               response.set_content("ok\n", "text/plain");
             });

  ::unlink(socket_path.c_str());  // of a killed predecessor: the coordinator's lock is ours
  server.set_address_family(AF_UNIX);
  const mode_t before = ::umask(0077);
  const bool bound = server.bind_to_port(socket_path, 80);  // a Unix socket ignores the port
  ::umask(before);
  if (!bound) return errno_error(errno, fmt::format("cannot listen on '{}'", socket_path));
  impl->thread = std::jthread([&server] { server.listen_after_bind(); });
  return std::unique_ptr<StatusServer>(new StatusServer(std::move(impl)));
}

}  // namespace vmferry::dashboard
