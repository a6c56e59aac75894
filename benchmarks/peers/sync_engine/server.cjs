// Serve @supabase/stripe-sync-engine with Node's HTTP server, as its README uses it.
const http = require('node:http')
const { StripeSync, runMigrations } = require('@supabase/stripe-sync-engine')

const databaseUrl = process.env.DATABASE_URL

async function main() {
  await runMigrations({ databaseUrl, schema: 'stripe', logger: console })
  const sync = new StripeSync({
    poolConfig: { connectionString: databaseUrl, max: 10 },
    schema: 'stripe',
    stripeSecretKey: 'sk_test_benchmark',
    stripeWebhookSecret: process.env.WEBHOOK_SECRET,
    backfillRelatedEntities: false,
    autoExpandLists: false,
  })
  const server = http.createServer(async (request, response) => {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    try {
      await sync.processWebhook(Buffer.concat(chunks), request.headers['stripe-signature'])
      response.writeHead(200, { 'Content-Type': 'application/json' })
      response.end('{"received":true}')
    } catch (error) {
      console.error(error)
      response.writeHead(400)
      response.end()
    }
  })
  server.listen(Number(process.env.PORT), '127.0.0.1')
}

main()
