#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/secret.h"
#include "common/tls_trust.h"

namespace vmferry {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  HttpHeaders headers;
  std::string body;
  // Sent as "Authorization: <value>" or "Cookie: <value>"; never logged.
  SecretString authorization;
  SecretString cookie;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds total_timeout{120'000};  // 0: none, then only the stall limit holds
  std::chrono::seconds stall_timeout{90};            // fewer than 1 KiB/s for that long
  std::size_t max_response_bytes = 64u << 20;        // ResourceExhausted beyond
  bool accept_compressed = false;
  // Opens a connection of its own. On one that was kept alive libcurl sends a request again, a POST
  // included, when the peer turns out to have closed it: what must not happen twice asks for this.
  bool fresh_connection = false;
};

struct HttpResponse {
  int status = 0;
  // Names in lower case. Different values of one name are joined by ", ".
  std::map<std::string, std::string> headers;
  std::vector<std::string> set_cookies;  // every Set-Cookie value as sent
  std::string body;

  const std::string* header(const std::string& lower_case_name) const;
};

// Sees a response while it arrives. Both answer false to stop it (the request then fails with
// Aborted, unless the sink stored an error of its own to report).
struct HttpSink {
  // After the last header, before the first body byte; `body` of the response is empty.
  std::function<bool(const HttpResponse&)> on_headers;
  std::function<bool(std::span<const std::byte>)> on_body;
};

// One peer's HTTP/1.1 connection, kept alive between requests. Not thread-safe: one per thread.
// Never follows redirects, never uses a proxy from the environment. TLS 1.2 or newer.
class HttpClient {
 public:
  struct Options {
    TlsTrust trust;
    std::string unix_socket;  // connect here instead of to the URL's host
    std::string user_agent = "vmferry";
    // "host:port:address": connect to address for that host (as curl's --resolve).
    std::vector<std::string> resolve;
    std::size_t receive_buffer = 512u << 10;
    // Shown to a server that asks for one: PEM, with the key beside it. Empty: none.
    std::string client_certificate_pem = {};
    SecretString client_key_pem = {};
    // "::host:port": connect there, while names and certificates stay those of the URL (as curl's
    // --connect-to).
    std::string connect_to = {};
  };
  static Result<std::unique_ptr<HttpClient>> make(Options options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any HTTP status is a response. Errors: Unavailable (cannot resolve, connect, connection lost,
  // body shorter than announced), DeadlineExceeded, PermissionDenied with code VMF-SRC-TLS
  // (certificate not trusted), ResourceExhausted (response too large), Canceled.
  Result<HttpResponse> send(const HttpRequest& request, std::stop_token stop);

  // The same with the body going to `sink`.
  Result<HttpResponse> stream(const HttpRequest& request, const HttpSink& sink,
                              std::stop_token stop);

  // The SHA-1 thumbprint ("AA:BB:...") of the certificate that the last new TLS connection was made
  // with; empty before the first. It was accepted as `trust` demands.
  const std::string& peer_thumbprint() const;

 private:
  struct Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A response whose body is pulled as it arrives: watches, and other answers without an end. Has a
// connection of its own, which is closed with it. Not thread-safe.
class HttpStream {
 public:
  // Sends the request and waits for the answer's headers. Errors: as HttpClient::send.
  static Result<std::unique_ptr<HttpStream>> open(HttpClient::Options options, HttpRequest request,
                                                  std::stop_token stop);
  ~HttpStream();
  HttpStream(const HttpStream&) = delete;
  HttpStream& operator=(const HttpStream&) = delete;

  const HttpResponse& response() const;  // without body

  struct Piece {
    std::string bytes;   // empty: none came in time
    bool ended = false;  // and none will come
  };
  // What came since the last call; waits up to `timeout` for the first byte. Errors: as
  // HttpClient::send; request.max_response_bytes bounds what comes between two calls.
  Result<Piece> read(std::chrono::milliseconds timeout, std::stop_token stop);

 private:
  struct Impl;
  explicit HttpStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Percent-encodes everything but unreserved characters (RFC 3986).
std::string url_encode(std::string_view text);
// Standard base64 with padding, and back (white space ignored; InvalidArgument on other text).
std::string base64_encode(std::span<const std::byte> bytes);
std::string base64_encode(std::string_view bytes);
Result<std::string> base64_decode(std::string_view text);
// "Basic <base64 of user:password>".
SecretString basic_authorization(std::string_view user, const SecretString& password);

// scheme, host, port (0: the scheme's default) and the rest (path and query, at least "/").
struct UrlParts {
  std::string scheme;
  std::string host;
  int port = 0;
  std::string path_and_query;
  std::string user;            // percent-decoded
  SecretString password;       // percent-decoded
  std::string origin() const;  // "https://host:port" without user
};
Result<UrlParts> parse_url(std::string_view url);

}  // namespace vmferry
