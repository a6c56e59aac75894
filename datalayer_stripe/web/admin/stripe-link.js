/** Links to Stripe's dashboard. A local Stripe has none. */

import { element } from "../dom.js";
import * as texts from "./texts.js";

/** Create a link, whose accessible name has the id of the object; null without an address. */
export const stripeLink = (url, id, text = texts.openInStripe) =>
  url
    ? element(
        "a",
        { href: url, target: "_blank", rel: "noopener", "aria-label": texts.inStripe(id) },
        text,
      )
    : null;

/** Create a link whose text is the id itself, or only the id without an address. */
export const stripeId = (url, id) => stripeLink(url, id, id) ?? element("code", {}, id);
