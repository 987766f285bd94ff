#include "tests/transfer/support/endless_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <string_view>
#include <utility>

namespace vmferry::testing {
namespace {

constexpr int kTickMs = 50;

// False when it is stopped or the client has gone.
bool wait_for(int fd, short events, const std::stop_token& stop) {
  pollfd entry{fd, events, 0};
  while (!stop.stop_requested()) {
    if (::poll(&entry, 1, kTickMs) > 0) return (entry.revents & (POLLERR | POLLHUP)) == 0;
  }
  return false;
}

bool send_all(int fd, std::span<const std::byte> bytes, const std::stop_token& stop) {
  while (!bytes.empty()) {
    if (!wait_for(fd, POLLOUT, stop)) return false;
    const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (count > 0) bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

bool take_request(int fd, const std::stop_token& stop) {
  std::string request;
  while (request.find("\r\n\r\n") == std::string::npos) {
    char buffer[4096];
    if (!wait_for(fd, POLLIN, stop)) return false;
    const ssize_t count = ::recv(fd, buffer, sizeof buffer, 0);
    if (count <= 0) return false;
    request.append(buffer, static_cast<std::size_t>(count));
  }
  return true;
}

}  // namespace

EndlessServer::EndlessServer(Bytes body, Bytes rest)
    : body_(std::move(body)),
      rest_(std::move(rest)),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::listen(listener_.get(), 4), 0);
  ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
  port_ = ntohs(address.sin_port);
  thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
}

std::string EndlessServer::url() const {
  return "http://127.0.0.1:" + std::to_string(port_) + "/disk";
}

void EndlessServer::serve(const std::stop_token& stop) const {
  while (wait_for(listener_.get(), POLLIN, stop)) {
    const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client || !take_request(client.get(), stop)) continue;
    constexpr std::string_view kHead = "HTTP/1.1 200 OK\r\n\r\n";
    if (!send_all(client.get(), std::as_bytes(std::span(kHead)), stop)) continue;
    if (!send_all(client.get(), body_, stop)) continue;
    while (!rest_.empty() && send_all(client.get(), rest_, stop)) {
    }
    if (rest_.empty()) (void)wait_for(client.get(), POLLIN, stop);
  }
}

}  // namespace vmferry::testing
