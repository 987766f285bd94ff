#include "coordinator/provider/ovirt/inventory.h"

#include <cctype>
#include <set>

#include "common/catalogue.h"
#include "coordinator/provider/ovirt/pages.h"

namespace vmferry::ovirt {
namespace {

constexpr int kPageSize = 100;
constexpr int kMaxPages = 200;
constexpr std::size_t kMaxCandidates = 10;
constexpr std::size_t kMaxMembers = 512;  // of one collection of one machine

constexpr std::string_view kFollow =
    "disk_attachments.disk,nics.vnic_profile.network,cdroms,watchdogs,graphics_consoles,"
    "host_devices,reported_devices,snapshots,tags,cluster,instance_type";

// Collections of a machine, each with the name its link has.
constexpr const char* kCollections[] = {"disk_attachments",
                                        "nics",
                                        "cdroms",
                                        "floppies",
                                        "watchdogs",
                                        "host_devices",
                                        "graphics_consoles",
                                        "reported_devices",
                                        "snapshots",
                                        "tags"};

std::string link_name(std::string_view collection) {
  std::string result;
  for (const char c : collection) {
    if (c != '_') result += c;
  }
  return result;
}

// An id comes from a user or from a server and goes into a path.
std::string segment(const std::string& id) { return url_encode(id); }

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const bool hex = std::isxdigit(static_cast<unsigned char>(text[i])) != 0;
    if (dash ? text[i] != '-' : !hex) return false;
  }
  return true;
}

Error vm_not_found(const std::string& text) {
  return coded_error(ErrorKind::NotFound, code::kVmNotFound, "{}", text);
}

}  // namespace

bool is_searchable(std::string_view name) {
  return name.find_first_of("\"*\\\r\n") == std::string_view::npos;
}

std::string search_query(const std::string& name, const std::string& cluster_name) {
  std::string query;
  if (!name.empty()) query = "name=\"" + name + "\"";
  if (!cluster_name.empty()) {
    query += std::string(query.empty() ? "" : " and ") + "cluster=\"" + cluster_name + "\"";
  }
  return query;
}

Result<std::string> Inventory::find_id(const VmRef& ref, std::stop_token stop) {
  if (!ref.id.empty()) return ref.id;
  if (ref.name.empty()) {
    return coded_error(ErrorKind::InvalidArgument, code::kVmNotFound,
                       "the source VM has neither id nor name");
  }
  std::vector<Found> found = TRY(list_named(ref, stop));
  std::string cluster_id = ref.cluster_id;
  if (cluster_id.empty() && !ref.cluster_name.empty()) {
    const std::optional<std::string> id = TRY(cluster_id_of(ref.cluster_name, stop));
    if (!id) return vm_not_found(fmt::format("the engine has no cluster '{}'", ref.cluster_name));
    cluster_id = *id;
  }
  if (!cluster_id.empty()) {
    std::erase_if(found, [&](const Found& each) { return each.cluster_id != cluster_id; });
  }
  if (found.size() == 1) return found.front().id;
  if (found.size() > 1) return ambiguous(ref, found, stop);
  const std::string where = ref.cluster_name.empty() ? ref.cluster_id : ref.cluster_name;
  return vm_not_found(where.empty()
                          ? fmt::format("no VM is named '{}'", ref.name)
                          : fmt::format("no VM in cluster '{}' is named '{}'", where, ref.name));
}

Result<std::vector<Inventory::Found>> Inventory::list_named(const VmRef& ref,
                                                            std::stop_token stop) {
  // A name that cannot be searched for is looked up in the whole list. Either way the engine's
  // comparison is not trusted: only an equal name counts.
  const std::string cluster = is_searchable(ref.cluster_name) ? ref.cluster_name : std::string();
  const std::string query = search_query(is_searchable(ref.name) ? ref.name : "", cluster);
  std::vector<Found> found;
  std::set<std::string> seen;  // pages are stateless: a machine may come twice
  for (int page = 1; page <= kMaxPages; ++page) {
    const std::string search =
        fmt::format("{}{}sortby name asc page {}", query, query.empty() ? "" : " ", page);
    const Document list = TRY(client_.fetch(
        fmt::format("/vms?search={}&case_sensitive=true&max={}", url_encode(search), kPageSize),
        stop));
    const std::vector<Element> vms = list.root().children("vm");
    std::size_t fresh = 0;
    for (const Element& vm : vms) {
      if (!seen.insert(vm.id()).second) continue;
      ++fresh;
      if (vm.text_or("name", "") == ref.name) {
        found.push_back({vm.id(), vm.child("cluster").id()});
      }
    }
    // An engine that does not page answers the same again.
    if (vms.size() < static_cast<std::size_t>(kPageSize) || fresh == 0) break;
  }
  return found;
}

Result<std::optional<std::string>> Inventory::cluster_id_of(const std::string& name,
                                                            std::stop_token stop) {
  const Document list = TRY(client_.fetch("/clusters", stop));
  for (const Element& cluster : list.root().children("cluster")) {
    if (cluster.text_or("name", "") == name) return std::optional<std::string>(cluster.id());
  }
  return std::optional<std::string>();
}

Error Inventory::ambiguous(const VmRef& ref, const std::vector<Found>& found,
                           std::stop_token stop) {
  std::map<std::string, std::string> cluster_names;
  if (const Result<Document> list = client_.fetch("/clusters", stop)) {
    for (const Element& cluster : list->root().children("cluster")) {
      cluster_names[cluster.id()] = cluster.text_or("name", "");
    }
  }
  std::string candidates;
  for (std::size_t i = 0; i < found.size() && i < kMaxCandidates; ++i) {
    const auto name = cluster_names.find(found[i].cluster_id);
    candidates += fmt::format("{}{} in cluster '{}'", i == 0 ? "" : ", ", found[i].id,
                              name == cluster_names.end() ? found[i].cluster_id : name->second);
  }
  if (found.size() > kMaxCandidates) {
    candidates += fmt::format(" and {} more", found.size() - kMaxCandidates);
  }
  return coded_error(ErrorKind::InvalidArgument, code::kVmAmbiguous, "{} VMs are named '{}': {}",
                     found.size(), ref.name, candidates);
}

Result<Vm> Inventory::read_state(const std::string& id, std::stop_token stop) {
  const Reply reply = TRY(client_.get("/vms/" + segment(id), stop));
  if (reply.status == 404 ||
      (reply.ok() && reply.body.root().name() != "vm" && reply.body.root().name() != "response")) {
    return vm_not_found(fmt::format("the engine has no VM with id '{}'", id));
  }
  if (!reply.ok()) return reply.error(fmt::format("reading VM '{}'", id));
  return parse_vm(reply.body.root());
}

Result<Vm> Inventory::read(const std::string& id, std::stop_token stop) {
  Document document = TRY(read_tree(id, stop));
  TRY(complete(document, stop));
  Vm vm = parse_vm(document.root());
  TRY(complete_sharers(vm, stop));
  return vm;
}

Result<Document> Inventory::read_tree(const std::string& id, std::stop_token stop) {
  const std::string plain = "/vms/" + segment(id) + "?all_content=true";
  Reply reply = TRY(client_.get(plain + "&follow=" + std::string(kFollow), stop));
  // An engine may refuse names that it cannot follow; the links are walked then.
  if (reply.status == 400) reply = TRY(client_.get(plain, stop));
  const std::string root = reply.body.root().name();
  if (reply.status == 404 || (reply.ok() && root != "vm" && root != "response")) {
    return vm_not_found(fmt::format("the engine has no VM with id '{}'", id));
  }
  if (!reply.ok()) return reply.error(fmt::format("reading VM '{}'", id));
  return std::move(reply.body);
}

// What `follow` did not inline is fetched and put where it would be.
Result<void> Inventory::complete(Document& document, std::stop_token stop) {
  for (const char* name : kCollections) TRY(complete_collection(document, name, stop));
  TRY(complete_disks(document, stop));
  TRY(complete_cdroms(document, stop));
  TRY(complete_nics(document, stop));
  TRY(complete_reference(document, document.root().child("cluster"), "/clusters/", stop));
  TRY(complete_reference(document, document.root().child("instance_type"), "/instancetypes/",
                         stop));
  return complete_domains(document, stop);
}

Result<void> Inventory::complete_collection(Document& document, const char* name,
                                            std::stop_token stop) {
  const Element present = document.root().child(name);
  std::optional<std::string> href = document.root().link(link_name(name));
  if (present) {
    const bool only_a_link = present.is_reference() && !present.href().empty();
    if (!only_a_link) return {};
    href = present.href();
    document.remove(present);
  }
  if (!href) return {};  // stays absent, which some rules tell from empty
  const Document part = TRY(client_.fetch(*href, stop));
  if (part.root().children().size() > kMaxMembers) {
    return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                       "{} has more than {} members", *href, kMaxMembers);
  }
  document.append(document.root(), part, name);
  return {};
}

Result<Element> Inventory::complete_reference(Document& document, Element reference,
                                              const std::string& path, std::stop_token stop) {
  if (!reference || !reference.is_reference()) return reference;
  const std::string id = reference.id();
  if (id.empty()) return reference;
  const std::string href = reference.href();
  const Document part = TRY(client_.fetch(href.empty() ? path + segment(id) : href, stop));
  return document.replace(reference, part.root());
}

Result<void> Inventory::complete_disks(Document& document, std::stop_token stop) {
  const Element attachments = document.root().child("disk_attachments");
  for (const Element& attachment : attachments.children("disk_attachment")) {
    Result<Element> disk = complete_reference(document, attachment.child("disk"), "/disks/", stop);
    if (disk) continue;
    if (disk.error().kind() == ErrorKind::NotFound) {
      return coded_error(ErrorKind::NotFound, code::kDiskMissing,
                         "the VM has disk '{}', which the engine does not know", attachment.id());
    }
    return std::move(disk).error();
  }
  return {};
}

// A CD image on a data domain is a disk, and its file's id is the disk's; on a domain for images
// the id is a file's name.
Result<void> Inventory::complete_cdroms(Document& document, std::stop_token stop) {
  for (const Element& cdrom : document.root().child("cdroms").children("cdrom")) {
    const std::string id = cdrom.child("file").id();
    if (!is_uuid(id) || cdrom.child("disk")) continue;
    const Reply reply = TRY(client_.get("/disks/" + segment(id), stop));
    if (reply.status == 404 || (reply.ok() && reply.body.root().name() != "disk")) continue;
    if (!reply.ok()) return reply.error(fmt::format("reading the CD image '{}'", id));
    document.append(cdrom, reply.body, "disk");
  }
  return {};
}

// Which machines a shareable disk is attached to: where the disk does not say, all machines are
// asked for their attachments. An engine that does not inline those leaves it unknown.
Result<void> Inventory::complete_sharers(Vm& vm, std::stop_token stop) {
  std::map<std::string, Disk*> wanted;
  if (!vm.disk_attachments) return {};
  for (DiskAttachment& attachment : *vm.disk_attachments) {
    if (!attachment.disk || attachment.disk->vm_ids) continue;
    if (attachment.disk->shareable.value_or(false)) {
      wanted.emplace(attachment.disk->id, &*attachment.disk);
    }
  }
  if (wanted.empty()) return {};
  std::map<std::string, std::vector<std::string>> users;
  bool is_told = true;
  const Collection machines{"/vms", "vm", "name", "disk_attachments"};
  const Result<void> read = for_each(client_, machines, stop, [&](const Element& machine) {
    const Element attachments = machine.child("disk_attachments");
    if (!attachments || (attachments.is_reference() && !attachments.href().empty())) {
      is_told = false;
    }
    for (const Element& each : attachments.children("disk_attachment")) {
      std::string disk = each.child("disk").id();
      if (disk.empty()) disk = each.id();
      if (wanted.contains(disk)) users[disk].push_back(machine.id());
    }
  });
  if (!read) {
    if (read.error().kind() == ErrorKind::InvalidArgument) return {};  // it does not follow here
    return read.error();
  }
  if (!is_told) return {};
  for (auto& [id, disk] : wanted) disk->vm_ids = users[id];
  return {};
}

Result<void> Inventory::complete_nics(Document& document, std::stop_token stop) {
  for (const Element& nic : document.root().child("nics").children("nic")) {
    const Element profile =
        TRY(complete_reference(document, nic.child("vnic_profile"), "/vnicprofiles/", stop));
    TRY(complete_reference(document, profile.child("network"), "/networks/", stop));
  }
  return {};
}

// Disks, and files in a CD-ROM drive, name their storage domains by id; one list tells the rest.
Result<void> Inventory::complete_domains(Document& document, std::stop_token stop) {
  std::vector<Element> references;
  const Element root = document.root();
  for (const Element& each : root.child("disk_attachments").children("disk_attachment")) {
    for (const Element& domain : each.child("disk.storage_domains").children("storage_domain")) {
      if (domain.is_reference()) references.push_back(domain);
    }
  }
  for (const Element& cdrom : root.child("cdroms").children("cdrom")) {
    for (const char* path : {"file.storage_domain", "disk.storage_domains.storage_domain"}) {
      const Element domain = cdrom.child(path);
      if (domain && domain.is_reference()) references.push_back(domain);
    }
  }
  if (references.empty()) return {};
  const Document list = TRY(client_.fetch("/storagedomains", stop));
  for (const Element& reference : references) {
    for (const Element& domain : list.root().children("storage_domain")) {
      if (domain.id() != reference.id()) continue;
      document.replace(reference, domain);
      break;
    }
  }
  return {};
}

}  // namespace vmferry::ovirt
