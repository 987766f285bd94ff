#include "cli/copy_arguments.h"

#include <sys/stat.h>

#include <filesystem>

#include "common/http_client.h"
#include "transfer/sources/file.h"

namespace vmferry::cli {
namespace {

constexpr char kShield = '\x01';

bool has_scheme(const std::string& text, std::string_view scheme) {
  return text.starts_with(std::string(scheme) + "://");
}

Result<DiskEndpoint> parse_source(const std::string& text, SourceKind web) {
  DiskEndpoint endpoint;
  endpoint.url = text;
  if (has_scheme(text, "http") || has_scheme(text, "https")) {
    const UrlParts parts = TRY(parse_url(text));
    endpoint.kind = web;
    endpoint.url = parts.origin() + parts.path_and_query;
    if (!parts.user.empty())
      endpoint.authorization = basic_authorization(parts.user, parts.password);
    return endpoint;
  }
  if (web == SourceKind::Imageio) {
    return make_error(ErrorKind::InvalidArgument,
                      "--imageio needs the https URL of an image ticket as source");
  }
  if (web == SourceKind::VmdkStream) {
    return make_error(ErrorKind::InvalidArgument,
                      "--vmdk-stream needs the https URL of a streamOptimized VMDK as source");
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

// Whether both paths lead to one file or one device. What is not there yet is no other's name.
bool is_same_file(const std::string& one, const std::string& other) {
  struct stat a {};
  struct stat b {};
  if (::stat(one.c_str(), &a) != 0 || ::stat(other.c_str(), &b) != 0) return false;
  if (S_ISBLK(a.st_mode) && S_ISBLK(b.st_mode)) return a.st_rdev == b.st_rdev;
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

std::vector<std::string> shield_bracketed(std::vector<std::string> words) {
  bool inside = false;
  for (std::string& word : words) {
    if (word == "]") inside = false;
    if (inside) word.insert(word.begin(), kShield);
    if (word == "[") inside = true;
  }
  return words;
}

Result<CopyEnds> parse_copy_ends(const std::vector<std::string>& words, SourceKind web) {
  CopyEnds ends;
  std::size_t next = 0;
  if (!words.empty() && words.front() == "[") {
    for (next = 1; next < words.size() && words[next] != "]"; ++next) {
      const std::string& word = words[next];
      ends.command.push_back(word.starts_with(kShield) ? word.substr(1) : word);
    }
    if (next == words.size() || ends.command.empty()) {
      return make_error(ErrorKind::InvalidArgument,
                        "a command as source is written [ nbdkit file disk.img ], with both "
                        "brackets as words of their own");
    }
    ends.source.kind = SourceKind::Nbd;
    ++next;
  } else if (!words.empty()) {
    ends.source = TRY(parse_source(words.front(), web));
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

std::string_view container_format(std::span<const std::byte> beginning) {
  using namespace std::string_view_literals;
  const std::string_view text(reinterpret_cast<const char*>(beginning.data()), beginning.size());
  for (const auto& [magic, name] :
       {std::pair{"QFI\xfb"sv, "qcow2"sv}, std::pair{"KDMV"sv, "VMDK"sv},
        std::pair{"# Disk DescriptorFile"sv, "VMDK"sv}, std::pair{"vhdxfile"sv, "VHDX"sv},
        std::pair{"conectix"sv, "VHD"sv}}) {
    if (text.starts_with(magic)) return name;
  }
  return {};
}

Result<void> check_ends_differ(const CopyEnds& ends, const std::string& journal) {
  std::vector<std::string> read;
  if (ends.source.kind == SourceKind::File) {
    read.push_back(TRY(path_of_file_url(ends.source.url)));
  }
  for (const std::string& word : ends.command) {
    read.push_back(word);
    if (const std::size_t equals = word.find('='); equals != std::string::npos) {
      read.push_back(word.substr(equals + 1));  // file=disk.img
    }
  }
  std::error_code none;
  const bool in_directory = std::filesystem::is_directory(ends.target, none);
  const std::string target = in_directory ? ends.target + "/disk.img" : ends.target;
  for (const std::string& path : read) {
    if (!ends.null_target && is_same_file(path, target)) {
      return make_error(ErrorKind::InvalidArgument, "source and target are the same: '{}'", path);
    }
    if (!journal.empty() && is_same_file(path, journal)) {
      return make_error(ErrorKind::InvalidArgument, "the journal '{}' is the source", journal);
    }
  }
  if (!journal.empty() && !ends.null_target && is_same_file(target, journal)) {
    return make_error(ErrorKind::InvalidArgument, "the journal '{}' is the target", journal);
  }
  return {};
}

}  // namespace vmferry::cli
