// A link to a trial opens the lists it is in and closes the list it was chosen from.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (const list of document.querySelectorAll("[popover]")) if (list.hidePopover) list.hidePopover();
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
addEventListener("click", (event) => {
  if (event.target.closest('a[href^="#"]')) setTimeout(reveal);
});
reveal();
