#pragma once

#include <curl/curl.h>
#include <openssl/types.h>

#include <optional>
#include <string>

#include "common/handle.h"
#include "common/http_client.h"

// What HttpClient and HttpStream share: one request over libcurl. Included by their sources alone.
namespace vmferry {

using CurlEasy = Owned<CURL, curl_easy_cleanup>;
using CurlMulti = Owned<CURLM, curl_multi_cleanup>;
using CurlList = Owned<curl_slist, curl_slist_free_all>;

// Decides on a server's leaf certificate alone, by its digest: 40 hex digits are SHA-1, else
// SHA-256.
struct CertificatePin {
  std::string expected;
  std::string presented;

  // "AA:BB:..."; empty where there is no certificate.
  static std::string digest_of(const X509* leaf, const EVP_MD* algorithm);
  static int verify(X509_STORE_CTX* store, void* argument);
  static CURLcode install(CURL*, void* context, void* argument);
};

// One request's state while libcurl drives it.
struct HttpExchange {
  HttpResponse response;
  const HttpSink* sink = nullptr;
  std::size_t max_body = 0;
  std::size_t header_bytes = 0;
  bool headers_complete = false;
  bool announced = false;
  bool too_large = false;
  bool stopped_by_sink = false;

  bool announce();
  bool add_header(std::string_view line);
  bool add_body(std::span<const std::byte> bytes);
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_write(char* data, std::size_t size, std::size_t count, void* self);
};

// A connection and the request that uses it. The request, its exchange and `headers` outlive it.
struct HttpTransfer {
  HttpClient::Options options;
  CurlEasy easy;
  CurlMulti multi;
  CurlList resolve;
  CurlList connect_to;
  CertificatePin pin;
  char error_text[CURL_ERROR_SIZE] = {};

  Result<void> init(HttpClient::Options wanted);
  Result<void> prepare(const HttpRequest& request, HttpExchange& exchange, CurlList& headers);
  // Lets libcurl work once, waiting at most that long for the network. The transfer's result once
  // it is over. Canceled as soon as `stop` is requested (the caller's stop callback wakes it).
  Result<std::optional<CURLcode>> step(int wait_ms, std::stop_token stop);
  Error failure(CURLcode code, const HttpRequest& request, const HttpExchange& exchange) const;

 private:
  void prepare_tls();
};

}  // namespace vmferry
