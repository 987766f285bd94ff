#include "cli/copy_arguments.h"

#include <filesystem>

#include "common/http_client.h"

namespace vmferry::cli {
namespace {

bool has_scheme(const std::string& text, std::string_view scheme) {
  return text.starts_with(std::string(scheme) + "://");
}

Result<DiskEndpoint> parse_source(const std::string& text, bool imageio) {
  DiskEndpoint endpoint;
  endpoint.url = text;
  if (has_scheme(text, "http") || has_scheme(text, "https")) {
    const UrlParts parts = TRY(parse_url(text));
    endpoint.kind = imageio ? SourceKind::Imageio : SourceKind::HttpRange;
    endpoint.url = parts.origin() + parts.path_and_query;
    if (!parts.user.empty())
      endpoint.authorization = basic_authorization(parts.user, parts.password);
    return endpoint;
  }
  if (imageio) {
    return make_error(ErrorKind::InvalidArgument,
                      "--imageio needs the https URL of an image ticket as source");
  }
  for (const char* scheme : {"nbd", "nbds", "nbd+unix", "nbds+unix"}) {
    if (has_scheme(text, scheme)) {
      endpoint.kind = SourceKind::Nbd;
      return endpoint;
    }
  }
  if (text.find("://") != std::string::npos && !has_scheme(text, "file")) {
    return make_error(ErrorKind::InvalidArgument,
                      "source '{}': known are nbd://, nbds://, nbd+unix://, http://, https://, a "
                      "file, or [ nbdkit ... ]",
                      redacted_url(text));
  }
  endpoint.kind = SourceKind::File;
  return endpoint;
}

}  // namespace

Result<CopyEnds> parse_copy_ends(const std::vector<std::string>& words, bool imageio) {
  CopyEnds ends;
  std::size_t next = 0;
  if (!words.empty() && words.front() == "[") {
    for (next = 1; next < words.size() && words[next] != "]"; ++next) {
      ends.command.push_back(words[next]);
    }
    if (next == words.size() || ends.command.empty()) {
      return make_error(ErrorKind::InvalidArgument,
                        "a command as source is written [ nbdkit file disk.img ], with both "
                        "brackets as words of their own");
    }
    ends.source.kind = SourceKind::Nbd;
    ++next;
  } else if (!words.empty()) {
    ends.source = TRY(parse_source(words.front(), imageio));
    next = 1;
  }
  if (words.size() != next + 1 || next == 0) {
    return make_error(ErrorKind::InvalidArgument, "copy needs exactly a SOURCE and a TARGET");
  }
  ends.target = words[next];
  ends.null_target = ends.target == "null:";
  if (ends.target.empty() || ends.target.find("://") != std::string::npos) {
    return make_error(ErrorKind::InvalidArgument,
                      "target '{}': known are a file, a block device and null:", ends.target);
  }
  return ends;
}

Result<std::vector<std::string>> command_on_socket(const std::vector<std::string>& command,
                                                   const std::string& socket) {
  const std::string program = std::filesystem::path(command.front()).filename().string();
  std::vector<std::string> result{command.front()};
  bool placed = true;
  if (program == "nbdkit") {
    result.insert(result.end(), {"--foreground", "--exit-with-parent", "--unix", socket});
  } else if (program == "qemu-nbd") {
    result.insert(result.end(),
                  {"--persistent", "--shared=8", "--read-only", "--socket=" + socket});
  } else {
    placed = false;
  }
  for (std::size_t i = 1; i < command.size(); ++i) {
    std::string word = command[i];
    for (std::size_t at = 0; (at = word.find("{socket}", at)) != std::string::npos;) {
      word.replace(at, std::string_view("{socket}").size(), socket);
      at += socket.size();
      placed = true;
    }
    result.push_back(std::move(word));
  }
  if (!placed) {
    return make_error(ErrorKind::InvalidArgument,
                      "'{}' is not nbdkit or qemu-nbd: write {{socket}} where its Unix socket goes",
                      command.front());
  }
  return result;
}

}  // namespace vmferry::cli
